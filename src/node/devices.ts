// Volumes and interfaces of an instance that stands: recorded before the effect as in doubt, after it as they are.
import type { CallOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance, Vif } from '../driver/model.js';
import { type AttachedVolume, findVolume, type VolumeConnection, volumeKey } from '../driver/volume.js';
import { parseDevice, parseVolume } from '../driver/volume-schema.js';
import { MAX_VIFS, MAX_VOLUMES } from './instance-schema.js';
import type { DeviceInDoubt } from './journal.js';
import type { KnownInstance } from './known-instance.js';
import { parseNetwork } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { operate } from './operation.js';
import type { AttachVolumeOptions, NetworkRequest, OperationOptions } from './types.js';

export async function attachVolume(
  context: NodeContext,
  uuid: string,
  volume: VolumeConnection,
  options: AttachVolumeOptions,
): Promise<AttachedVolume> {
  const task = 'attachVolume';
  const connection = parseVolume(volume, task, uuid);
  const device = parseDevice(options.device, task, uuid);
  return await operate(context, uuid, { task, options }, async (known, { signal }) => {
    refuseForeign(context, known, connection, task);
    refuseMore(known, known.instance.volumes?.length ?? 0, MAX_VOLUMES, task);
    return await change(known, { kind: 'volume', connection }, async () => {
      const { volumes = [] } = known.instance;
      const attached = await context.driver.attachVolume(known.instance, connection, device, { signal });
      const standing = findVolume(volumes, connection);
      return {
        value: standing ?? attached,
        instance: standing ? known.instance : { ...known.instance, volumes: [...volumes, attached] },
        undo: (instance) => context.driver.detachVolume(instance, connection),
      };
    });
  });
}

export async function detachVolume(
  context: NodeContext,
  uuid: string,
  volume: VolumeConnection | string,
  options: OperationOptions,
): Promise<void> {
  const task = 'detachVolume';
  const wanted = typeof volume === 'string' ? volume : parseVolume(volume, task, uuid);
  await operate(context, uuid, { task, options }, async (known, { signal }) => {
    const connection = typeof wanted === 'string' ? attachedAs(known, wanted, task).connection : wanted;
    await change(known, { kind: 'volume', connection }, async () => {
      await context.driver.detachVolume(known.instance, connection, { signal });
      return { value: undefined, instance: withoutVolume(known.instance, connection) };
    });
  });
}

export async function extendVolume(
  context: NodeContext,
  uuid: string,
  volume: VolumeConnection | string,
  sizeBytes: number,
  options: OperationOptions,
): Promise<void> {
  const task = 'extendVolume';
  await operate(context, uuid, { task, options }, async (known, { signal }) => {
    const { connection } = attachedAs(known, volume, task);
    await context.driver.extendVolume(known.instance, connection, sizeBytes, { signal });
  });
}

export async function swapVolume(
  context: NodeContext,
  uuid: string,
  volume: VolumeConnection | string,
  to: VolumeConnection,
  options: OperationOptions,
): Promise<AttachedVolume> {
  const task = 'swapVolume';
  const connection = parseVolume(to, task, uuid);
  // The copy may take as long as it takes: the caller's deadline, or none.
  const rules = { task, options, timeoutMs: Number.POSITIVE_INFINITY };
  return await operate(context, uuid, rules, async (known, { signal }) => {
    const from = attachedAs(known, volume, task).connection;
    refuseForeign(context, known, connection, task);
    return await change(known, { kind: 'volume', connection, replaces: from }, async () => {
      const { driver } = context;
      const timeoutMs = Number.POSITIVE_INFINITY;
      const value = await driver.swapVolume(known.instance, from, connection, { signal, timeoutMs });
      const { volumes = [] } = withoutVolume(known.instance, from);
      return { value, instance: { ...known.instance, volumes: [...volumes, value] } };
    });
  });
}

export async function attachInterface(
  context: NodeContext,
  uuid: string,
  request: NetworkRequest,
  options: OperationOptions,
): Promise<Vif> {
  const task = 'attachInterface';
  return await operate(context, uuid, { task, options }, async (known, { signal }) => {
    const standing = known.instance.vifs.find(({ id }) => id === request?.portId?.toLowerCase());
    if (!standing) refuseMore(known, known.instance.vifs.length, MAX_VIFS, task);
    const others = takenVifs(context).filter((vif) => vif.id !== standing?.id);
    const vif = standing ?? parseNetwork(request, others);
    return await change(known, { kind: 'interface', vif }, async () => {
      await context.driver.attachInterface(known.instance, vif, { signal });
      const { vifs } = known.instance;
      return {
        value: vif,
        instance: standing ? known.instance : { ...known.instance, vifs: [...vifs, vif] },
        undo: (instance) => context.driver.detachInterface(instance, vif),
      };
    });
  });
}

export async function detachInterface(
  context: NodeContext,
  uuid: string,
  port: string,
  options: OperationOptions,
): Promise<void> {
  const task = 'detachInterface';
  if (typeof port !== 'string') {
    throw new ComputeError('INVALID_ARGUMENT', `${task}: a port's id or its address is a string`, {
      operation: task,
      instanceUuid: uuid,
    });
  }
  const wanted = port.toLowerCase();
  await operate(context, uuid, { task, options }, async (known, { signal }) => {
    const vif = known.instance.vifs.find(({ id, mac }) => id === wanted || mac === wanted);
    if (!vif) throw noDevice(known, wanted, task);
    await change(known, { kind: 'interface', vif }, async () => {
      await context.driver.detachInterface(known.instance, vif, { signal });
      const vifs = known.instance.vifs.filter((one) => one !== vif);
      return { value: undefined, instance: { ...known.instance, vifs } };
    });
  });
}

/** Interfaces of all instances of this node but that one, those that are just being attached among them. */
export function takenVifs({ instances }: Pick<NodeContext, 'instances'>, except?: string): Vif[] {
  return [...instances].flatMap(([uuid, { instance, arriving }]) =>
    uuid === except ? [] : [...instance.vifs, ...(arriving?.kind === 'interface' ? [arriving.vif] : [])],
  );
}

interface Changed<T> {
  readonly value: T;
  readonly instance: Instance;
  /** What takes it back where it cannot be recorded. */
  readonly undo?: (instance: Instance) => Promise<void>;
}

/** A process that dies in between leaves the device in doubt; the next one takes it away ({@link settleDevice}). */
async function change<T>(
  known: KnownInstance,
  device: DeviceInDoubt,
  work: () => Promise<Changed<T>>,
): Promise<T> {
  known.arriving = device;
  try {
    await known.journal.append({ event: 'device', device });
    const { value, instance, undo } = await work().catch(async (error: unknown) => {
      // Nothing was changed. Where this cannot be written the next start takes the device away, as after a crash.
      await known.journal.append({ event: 'done' }).catch(() => undefined);
      throw error;
    });
    try {
      await known.journal.append(recordOf(instance));
    } catch (error) {
      await undo?.(known.instance).catch(() => undefined);
      throw error;
    }
    known.instance = instance;
    return value;
  } finally {
    known.arriving = undefined;
  }
}

/**
 * After a crash: what was being attached or detached goes, and a swap is taken back. Returns the instance as it is
 * then; a guest that keeps its device has it.
 */
export async function settleDevice(
  { driver }: Pick<NodeContext, 'driver'>,
  instance: Instance,
  device: DeviceInDoubt,
  call: CallOptions,
): Promise<{ readonly instance: Instance; readonly outcome: string }> {
  if (device.kind === 'interface') {
    const { vif } = device;
    const others = instance.vifs.filter(({ id }) => id !== vif.id);
    const gone = await letsGo(() => driver.detachInterface(instance, vif, call));
    return {
      instance: { ...instance, vifs: gone ? others : [...others, vif] },
      outcome: `the interface ${vif.mac} ${gone ? 'is detached' : 'could not be detached and stays'}`,
    };
  }
  const { connection, replaces } = device;
  const key = volumeKey(connection);
  if (replaces !== undefined) {
    const back = await driver.swapVolume(instance, connection, replaces, call).catch(() => undefined);
    return { instance, outcome: `the swap to ${key} ${back ? 'is taken back' : 'could not be taken back'}` };
  }
  const gone = await letsGo(() => driver.detachVolume(instance, connection, call));
  if (gone) return { instance: withoutVolume(instance, connection), outcome: `${key} is detached` };
  const attached = await driver.attachVolume(instance, connection, undefined, call);
  const { volumes = [] } = withoutVolume(instance, connection);
  return {
    instance: { ...instance, volumes: [...volumes, attached] },
    outcome: `${key} could not be detached and stays`,
  };
}

export function recordOf({ vifs, volumes = [] }: Instance): {
  readonly event: 'devices';
  readonly vifs: readonly Vif[];
  readonly volumes: readonly AttachedVolume[];
} {
  return { event: 'devices', vifs, volumes };
}

/** False where the guest keeps the device; a domain that is lost has none. */
async function letsGo(detach: () => Promise<void>): Promise<boolean> {
  try {
    await detach();
    return true;
  } catch (error) {
    if (!ComputeError.is(error)) throw error;
    if (error.code === 'INSTANCE_NOT_FOUND') return true;
    if (['DETACH_FAILED', 'TIMEOUT', 'INVALID_STATE'].includes(error.code)) return false;
    throw error;
  }
}

function withoutVolume(instance: Instance, connection: VolumeConnection): Instance {
  const key = volumeKey(connection);
  const volumes = (instance.volumes ?? []).filter((volume) => volumeKey(volume.connection) !== key);
  return { ...instance, volumes };
}

/** Throws `DEVICE_NOT_FOUND`. */
function attachedAs(
  known: KnownInstance,
  volume: VolumeConnection | string,
  operation: string,
): AttachedVolume {
  const { uuid, volumes = [] } = known.instance;
  if (typeof volume === 'string') {
    const found = volumes.find(({ device }) => device === volume);
    if (found) return found;
    throw noDevice(known, volume, operation);
  }
  const connection = parseVolume(volume, operation, uuid);
  const found = findVolume(volumes, connection);
  if (found) return found;
  throw noDevice(known, volumeKey(connection), operation);
}

function noDevice({ instance }: KnownInstance, device: string, operation: string): ComputeError {
  const named = JSON.stringify(device).slice(0, 200);
  return new ComputeError(
    'DEVICE_NOT_FOUND',
    `${operation}: instance ${instance.uuid} has no ${named}; see what it has with show`,
    { operation, instanceUuid: instance.uuid, details: { device: device.slice(0, 200) } },
  );
}

function refuseMore({ instance }: KnownInstance, count: number, most: number, operation: string): void {
  if (count < most) return;
  throw new ComputeError(
    'DEVICE_IN_USE',
    `${operation}: instance ${instance.uuid} has ${count} of these, which is as many as it can; detach one first`,
    { operation, instanceUuid: instance.uuid, details: { count, most } },
  );
}

/** Two guests that write to one disk destroy what is on it, unless both were made for it. */
function refuseForeign(
  { instances }: NodeContext,
  known: KnownInstance,
  connection: VolumeConnection,
  operation: string,
): void {
  const key = volumeKey(connection);
  for (const other of instances.values()) {
    if (other === known) continue;
    const { arriving, instance } = other;
    const held = [
      ...(instance.volumes ?? []).map((volume) => volume.connection),
      ...(arriving?.kind === 'volume' ? [arriving.connection] : []),
    ].find((one) => volumeKey(one) === key);
    if (held === undefined || (held.multiattach && connection.multiattach)) continue;
    throw new ComputeError(
      'DEVICE_IN_USE',
      `${operation}: ${key} is attached to instance ${instance.uuid}; detach it there, or attach it to both with multiattach`,
      { operation, instanceUuid: known.instance.uuid, details: { volume: key, attachedTo: instance.uuid } },
    );
  }
}
