// Calls of Nova's that this host does not have: the caller goes on by another way, or tells its user.
import type { ComputeHost } from './compute-host.js';
import { RpcFailure } from './errors.js';
import { novaFailure } from './nova-failure.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** Upon which a scheduler tries the next host. */
const MIGRATIONS: readonly string[] = [
  'check_can_live_migrate_destination',
  'check_can_live_migrate_source',
  'prep_snapshot_based_resize_at_dest',
  'prep_snapshot_based_resize_at_source',
];

/** That are of no use to a host without migrations, or that Nova's libvirt driver has not either. */
const OTHERS: readonly string[] = [
  'check_instance_shared_storage',
  'confirm_snapshot_based_resize_at_source',
  'drop_move_claim_at_destination',
  'finish_revert_snapshot_based_resize_at_source',
  'finish_snapshot_based_resize_at_dest',
  'host_maintenance_mode',
  'host_power_action',
  'post_live_migration_at_destination',
  'pre_live_migration',
  'quiesce_instance',
  'remove_volume_connection',
  'revert_snapshot_based_resize_at_dest',
];

export function unsupportedCalls({ name }: ComputeHost): Record<string, RpcMethod> {
  const reason = (what: string): string => `host ${name} does not support ${what}`;
  const failing = (failure: RpcFailure): RpcMethod => {
    return () => {
      throw failure;
    };
  };
  const migrations = MIGRATIONS.map((method): [string, RpcMethod] => [
    method,
    failing(novaFailure('MigrationPreCheckError', { reason: reason('migration between hosts') })),
  ]);
  const others = OTHERS.map((method): [string, RpcMethod] => [
    method,
    failing(new RpcFailure({ class: 'NotImplementedError', module: 'builtins', message: reason(method) })),
  ]);
  return Object.fromEntries([...migrations, ...others]);
}
