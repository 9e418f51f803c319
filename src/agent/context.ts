// The context of what the agent asks for its own sake: Nova's administrator, and no token.
import { randomUUID } from 'node:crypto';
import type { RpcContext } from './envelope.js';

/** All fields of nova.context.RequestContext; a new request id each time. */
export function ownContext(): RpcContext {
  return {
    user: null,
    project_id: null,
    system_scope: null,
    project: null,
    domain: null,
    user_domain: null,
    project_domain: null,
    is_admin: true,
    read_only: false,
    show_deleted: false,
    auth_token: null,
    request_id: `req-${randomUUID()}`,
    global_request_id: null,
    resource_uuid: null,
    roles: [],
    user_identity: '- - - - -',
    is_admin_project: true,
    user_id: null,
    read_deleted: 'no',
    remote_address: null,
    timestamp: new Date().toISOString().slice(0, -1),
    quota_class: null,
    user_name: null,
    service_catalog: [],
    project_name: null,
  };
}
