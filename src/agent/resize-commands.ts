// prep_resize, confirm_resize, revert_resize: another flavor on this host. Nova's migration record and Placement follow.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { unacceptable } from './errors.js';
import { type CommandArguments, instanceCommand } from './instance-command.js';
import { type Fields, type InstanceRecord, isDeletion, powerCode, uuidOf } from './instance-record.js';
import { flavorOf } from './launch-message.js';
import { NovaObject } from './nova-object.js';
import { persist } from './persist.js';
import type { RpcMethod } from './rpc-endpoint.js';

const STATES = ['resize_prep', 'resize_migrating', 'resize_migrated', 'resize_finish'] as const;

/** By the names of Nova's RPC; its resize_instance and finish_resize, between hosts, are parts of the first here. */
export function resizeCommands(host: ComputeHost): Record<string, RpcMethod> {
  return {
    prep_resize: instanceCommand(host, {
      event: 'compute_prep_resize',
      pending: STATES,
      run: (record, args, isRepeated) => resize(host, record, migrationOf(record, args), args, isRepeated),
      failed: async (record, args) => {
        const migration = migrationOf(record, args);
        await saveMigration(host, record, migration, { status: 'error' });
        await moveBack(host, record, migration);
      },
    }),
    confirm_resize: instanceCommand(host, {
      event: 'compute_confirm_resize',
      pending: [null, 'deleting', 'soft-deleting'],
      run: (record, args) => confirm(host, record, migrationOf(record, args)),
    }),
    revert_resize: instanceCommand(host, {
      event: 'compute_revert_resize',
      pending: ['resize_reverting'],
      run: (record, args) => revert(host, record, migrationOf(record, args)),
    }),
  };
}

async function resize(
  host: ComputeHost,
  record: InstanceRecord,
  migration: NovaObject,
  args: CommandArguments,
  isRepeated: boolean,
): Promise<void> {
  const { node, signal, name, nodeName, shutdownTimeoutMs, schedulers } = host;
  const { object, uuid } = record;
  const { flavor: wanted, clean_shutdown: clean = true } = args;
  refuseOtherHost(host, record);
  const flavor = flavorOf(wanted);
  if (!object.has('system_metadata')) throw unacceptable('object', 'an instance without system_metadata');
  const after = (state: string): readonly string[] => (isRepeated ? STATES : [state]);
  const metadata = { ...(object.get('system_metadata') as object), old_vm_state: record.vmState };
  await record.save({ new_flavor: wanted, system_metadata: metadata });
  const destination = { dest_compute: name, dest_node: nodeName };
  await saveMigration(host, record, migration, { ...destination, status: 'migrating' });
  await record.save({ task_state: 'resize_migrating' }, after('resize_prep'));
  if (!(await waitsForVerdict(host, uuid))) {
    const shutdown = { shutdownTimeoutMs: clean === true ? shutdownTimeoutMs : 0 };
    await node.resize(uuid, flavor, { signal, ...shutdown });
  }
  const old = object.get('old_flavor') ?? object.get('flavor');
  await record.save({ task_state: 'resize_migrated', old_flavor: old }, after('resize_migrating'));
  await record.save({ task_state: 'resize_finish', ...sizeOf(wanted) }, after('resize_migrated'));
  await saveMigration(host, record, migration, { status: 'finished' });
  const fields = { vm_state: 'resized', task_state: null, launched_at: new Date() };
  await record.save(fields, after('resize_finish'));
  await schedulers.update(name, [object], record.call).catch(() => undefined);
}

async function confirm(host: ComputeHost, record: InstanceRecord, migration: NovaObject): Promise<void> {
  const { node, signal, placement } = host;
  // An earlier process has done it, and the user something else since.
  if (record.vmState !== 'resized') return;
  if (await waitsForVerdict(host, record.uuid)) await node.confirmResize(record.uuid, { signal });
  await saveMigration(host, record, migration, { status: 'confirmed' });
  await persist(signal, () => placement.removeConsumer(uuidOf(migration)));
  const fields = { ...(await settled(record)), ...NO_FLAVORS };
  await record.save(fields, [null, 'deleting', 'soft-deleting']);
}

async function revert(host: ComputeHost, record: InstanceRecord, migration: NovaObject): Promise<void> {
  const { node, signal } = host;
  if (await waitsForVerdict(host, record.uuid)) await node.revertResize(record.uuid, { signal });
  await moveBack(host, record, migration);
  await saveMigration(host, record, migration, { status: 'reverted' });
  const old = record.object.get('old_flavor') ?? record.object.get('flavor');
  const power = powerCode(await record.powerState());
  const fields = { ...(await settled(record)), ...sizeOf(old), ...NO_FLAVORS, power_state: power };
  await record.save({ ...fields, launched_at: new Date() }, ['resize_reverting']);
}

const NO_FLAVORS: Fields = { old_flavor: null, new_flavor: null };

async function settled(record: InstanceRecord): Promise<Fields> {
  const isRunning = (await record.powerState()) === 'running';
  const task = isDeletion(record.taskState) ? record.taskState : null;
  return { vm_state: isRunning ? 'active' : 'stopped', task_state: task };
}

async function waitsForVerdict({ node, signal }: ComputeHost, uuid: string): Promise<boolean> {
  return (await node.get(uuid, { signal })).resize !== undefined;
}

/** The scheduler's new allocation ends, and the one that the conductor had set aside for the old flavor is the instance's again. */
async function moveBack(host: ComputeHost, { uuid }: InstanceRecord, migration: NovaObject): Promise<void> {
  const { placement, signal } = host;
  await persist(signal, () => placement.moveAllocations(uuidOf(migration), uuid));
}

async function saveMigration(
  { conductor, signal }: ComputeHost,
  record: InstanceRecord,
  migration: NovaObject,
  fields: Fields,
): Promise<void> {
  for (const [field, value] of Object.entries(fields)) migration.set(field, value);
  await persist(signal, () => conductor.save(migration, record.call));
}

/** Throws `MESSAGE_UNACCEPTABLE` for what is none, or is another instance's. */
function migrationOf({ uuid }: InstanceRecord, { migration }: CommandArguments): NovaObject {
  if (migration instanceof NovaObject && migration.get('instance_uuid') === uuid) return migration;
  throw unacceptable('object', `its migration is none of instance ${uuid}`);
}

/** Of an instance: the flavor, and the figures that Nova keeps beside it. */
function sizeOf(flavor: unknown): Fields {
  if (!(flavor instanceof NovaObject)) return {};
  return {
    flavor,
    instance_type_id: flavor.get('id'),
    memory_mb: flavor.get('memory_mb'),
    vcpus: flavor.get('vcpus'),
    root_gb: flavor.get('root_gb'),
    ephemeral_gb: flavor.get('ephemeral_gb'),
  };
}

function refuseOtherHost({ name }: ComputeHost, { object, uuid }: InstanceRecord): void {
  if (object.get('host') === name) return;
  throw new ComputeError(
    'UNSUPPORTED',
    `host ${name} resizes instances of its own alone, and ${uuid} is on ${String(object.get('host'))}`,
    { operation: 'resize', instanceUuid: uuid },
  );
}
