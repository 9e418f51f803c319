// What is done with the system in a guest: its password, its crash dump.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { unacceptable } from './errors.js';
import { instanceCommand } from './instance-command.js';
import { novaFailure } from './nova-failure.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** By the names of Nova's RPC. */
export function guestCommands(host: ComputeHost): Record<string, RpcMethod> {
  const { node, signal, log } = host;
  return {
    set_admin_password: setAdminPassword(host),
    // What comes of it is the guest's affair: the states stay as they are.
    trigger_crash_dump: instanceCommand(host, {
      event: 'compute_trigger_crash_dump',
      pending: [],
      left: () => ({}),
      run: ({ uuid }) => node.triggerCrashDump(uuid, { signal }),
    }),
    // Of Nova's drivers libvirt's does nothing here either.
    inject_network_info: (_args, { context }) => {
      log.debug('inject_network_info needs nothing here', { requestId: context['request_id'] });
    },
  };
}

/** A call, of which the user sees how it ended. Nova's ComputeManager.set_admin_password. */
function setAdminPassword(host: ComputeHost): RpcMethod {
  const { node, signal } = host;
  const command = instanceCommand(host, {
    event: 'compute_set_admin_password',
    pending: ['updating_password'],
    left: () => ({ task_state: null }),
    run: async (record, { new_pass: password }) => {
      if (typeof password !== 'string') throw unacceptable('message', 'its password is no text');
      await node.guests.setAdminPassword(record.uuid, password, { signal });
      await record.save({ task_state: null }, ['updating_password']);
    },
  });
  return async (args, invocation) => {
    try {
      return await command(args, invocation);
    } catch (error) {
      throw passwordFailure(error);
    }
  };
}

function passwordFailure(error: unknown): unknown {
  if (!ComputeError.is(error)) return error;
  const { code, instanceUuid = '' } = error;
  const failed = (reason: string): Error =>
    novaFailure('InstancePasswordSetFailed', { instance: instanceUuid, reason });
  switch (code) {
    case 'INSTANCE_NOT_FOUND':
      return novaFailure('InstanceNotFound', { instance_id: instanceUuid });
    case 'UNSUPPORTED':
      return novaFailure('SetAdminPasswdNotSupported');
    case 'AGENT_UNAVAILABLE':
      return error.retryable
        ? failed('its guest agent does not answer')
        : novaFailure('InstanceAgentNotEnabled');
    case 'AGENT_FAILED':
      return failed('its guest agent could not set it');
    case 'INVALID_STATE':
      return failed('it is not running');
    case 'INVALID_ARGUMENT':
      return failed('it is no password');
    default:
      return error;
  }
}
