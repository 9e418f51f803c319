// Commands of Nova's that this host does not have: the user reads so, and the server is free for the next one.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { instanceCommand } from './instance-command.js';
import type { Fields } from './instance-record.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** Casts that leave a server with a task until somebody ends it, which task. */
const WITH_TASK: Readonly<Record<string, string>> = {
  finish_resize: 'resize_migrated',
  finish_revert_resize: 'resize_reverting',
  live_migration: 'migrating',
  resize_instance: 'resize_prep',
};

/** Casts beside which a server may have another task, or none. */
const WITHOUT_TASK: readonly string[] = [
  'add_fixed_ip_to_instance',
  'live_migration_abort',
  'live_migration_force_complete',
  'remove_fixed_ip_from_instance',
  'rollback_live_migration_at_destination',
  'unquiesce_instance',
  'volume_snapshot_create',
  'volume_snapshot_delete',
];

export function unsupportedCommands(host: ComputeHost): Record<string, RpcMethod> {
  const command = (method: string, pending: readonly string[], left?: () => Fields): RpcMethod =>
    instanceCommand(host, {
      event: `compute_${method}`,
      pending,
      ...(left && { left }),
      run: async ({ uuid }) => {
        throw new ComputeError('UNSUPPORTED', `host ${host.name} does not support ${method}`, {
          operation: method,
          instanceUuid: uuid,
        });
      },
    });
  return {
    ...Object.fromEntries(
      Object.entries(WITH_TASK).map(([method, task]) => [method, command(method, [task])]),
    ),
    ...Object.fromEntries(WITHOUT_TASK.map((method) => [method, command(method, [], () => ({}))])),
  };
}
