// Volumes of an instance that exists: attached, detached, made larger, swapped; running and at rest.
import { relative } from 'node:path';
import type { CallOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance } from '../driver/model.js';
import { type AttachedVolume, findVolume, type VolumeConnection, volumeKey } from '../driver/volume.js';
import { parseDevice, parseVolume } from '../driver/volume-schema.js';
import { callNative, changeFiles } from '../native.js';
import { DeviceChange, type DeviceHost, type FindAlias } from './device-change.js';
import { copyVolume, endVolumeCopy } from './volume-copy.js';
import { chooseTarget, ownTargets, volumeXml } from './xml/single-device.js';

/** What a qcow2 volume may be; the caller's own storage, not an image from outside. */
const MAX_VIRTUAL_BYTES = 2 ** 50;

export class Volumes {
  readonly #host: DeviceHost;

  constructor(host: DeviceHost) {
    this.#host = host;
  }

  async attach(
    instance: Instance,
    volume: VolumeConnection,
    device: string | undefined,
    options: CallOptions,
  ): Promise<AttachedVolume> {
    const operation = 'attachVolume';
    const connection = parseVolume(volume, operation, instance.uuid);
    const wanted = parseDevice(device, operation, instance.uuid);
    return await DeviceChange.run(this.#host, operation, instance, options, async (change) => {
      const attached = await this.#place(change, connection, wanted);
      const next = withVolume(instance, attached);
      const xml = volumeXml(instance, change.host, attached);
      change.checkDefinition(next);
      const find = aliasOf(connection);
      const there = change.running && find(await change.live()) !== undefined;
      if (!there) await this.#checkSource(change, connection);
      if (change.running && !there) await change.attach(xml, find);
      await change.persist(next);
      return attached;
    });
  }

  async detach(instance: Instance, volume: VolumeConnection, options: CallOptions): Promise<void> {
    const operation = 'detachVolume';
    const connection = parseVolume(volume, operation, instance.uuid);
    await DeviceChange.run(this.#host, operation, instance, options, async (change) => {
      const own = ownTargets(instance, change.host);
      const key = volumeKey(connection);
      // The instance's own disks are no volumes, whatever path the caller names.
      const find: FindAlias = ({ disks }) =>
        disks.find((disk) => disk.key === key && !own.has(disk.target))?.alias;
      if (change.running) await change.detach(find, `the volume ${key}`);
      await change.persistForGood(withoutVolume(instance, connection));
    });
  }

  async extend(
    instance: Instance,
    volume: VolumeConnection,
    sizeBytes: number,
    options: CallOptions,
  ): Promise<void> {
    const operation = 'extendVolume';
    const connection = parseVolume(volume, operation, instance.uuid);
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % 512 !== 0) {
      throw new ComputeError(
        'INVALID_ARGUMENT',
        `${operation}: a size is a multiple of 512 bytes, not ${sizeBytes}`,
        {
          operation,
          instanceUuid: instance.uuid,
        },
      );
    }
    await DeviceChange.run(this.#host, operation, instance, options, async (change) => {
      if (!change.running) {
        if (!findVolume(instance.volumes, connection)) throw notAttached(change, connection);
        await growAtRest(change, connection, sizeBytes);
        return;
      }
      const target = await liveTarget(change, connection);
      const before = await change.call((domain, id) => domain.blockCapacity(target, id));
      if (sizeBytes < before) throw noShrink(change, sizeBytes, before);
      if (sizeBytes > before) await change.call((domain, id) => domain.blockResize(target, sizeBytes, id));
    });
  }

  async swap(
    instance: Instance,
    from: VolumeConnection,
    to: VolumeConnection,
    options: CallOptions,
  ): Promise<AttachedVolume> {
    const operation = 'swapVolume';
    const old = parseVolume(from, operation, instance.uuid);
    const connection = parseVolume(to, operation, instance.uuid);
    return await DeviceChange.run(this.#host, operation, instance, options, async (change) => {
      if (!change.running) {
        throw new ComputeError(
          'INVALID_STATE',
          `${operation}: instance ${instance.uuid} is stopped, and it is the running guest's QEMU that copies; start it first`,
          { ...change.context, details: { powerState: 'shutdown' } },
        );
      }
      const own = ownTargets(instance, change.host);
      const { disks } = await change.live();
      const [before, after] = [old, connection].map((one) =>
        disks.find(({ key, target }) => key === volumeKey(one) && !own.has(target)),
      );
      if (after && (before || volumeKey(old) === volumeKey(connection))) {
        throw inUse(change, connection, after.target);
      }
      const device = (after ?? before)?.target;
      if (device === undefined) throw notAttached(change, old);
      const attached: AttachedVolume = { connection, device };
      const next = withVolume(withoutVolume(instance, old), attached);
      change.checkDefinition(next);
      if (before) {
        await this.#checkSource(change, connection);
        const xml = volumeXml(instance, change.host, attached);
        await copyVolume(this.#host.hypervisor, change, device, xml, volumeKey(connection));
      } else {
        await endVolumeCopy(change, device);
      }
      // From here on the guest writes to the new one: the definition must follow it, whatever becomes of the call.
      await change.persistForGood(next);
      return attached;
    });
  }

  /** The volume in its place: where it is already, or the name that was asked for, or a free one. */
  async #place(
    change: DeviceChange,
    connection: VolumeConnection,
    wanted: string | undefined,
  ): Promise<AttachedVolume> {
    const { instance, host } = change;
    const key = volumeKey(connection);
    const own = ownTargets(instance, host);
    const { disks } = change.running ? await change.live() : { disks: [] };
    const standing =
      disks.find((disk) => disk.key === key)?.target ?? findVolume(instance.volumes, connection)?.device;
    if (standing !== undefined) {
      if (own.has(standing) || (wanted !== undefined && wanted !== standing)) {
        throw inUse(change, connection, standing);
      }
      return { connection, device: standing };
    }
    const taken = new Set([
      ...own,
      ...disks.map(({ target }) => target),
      ...(instance.volumes ?? []).map((volume) => volume.device),
    ]);
    return { connection, device: chooseTarget(instance, taken, wanted, change.context.operation) };
  }

  /** At rest libvirt looks at nothing, and a start that fails tells of it too late. */
  async #checkSource({ context }: DeviceChange, connection: VolumeConnection): Promise<void> {
    const { driverVolumeType, data } = connection;
    if (driverVolumeType !== 'file' && driverVolumeType !== 'block') return;
    // libvirt would hand a base that many instances stand on, or another's disk, over to this guest.
    const ours = !relative(this.#host.instancesPath, data.path).startsWith('..');
    const found = ours ? undefined : await callNative((addon, id) => addon.statFile(data.path, id), context);
    if (found?.type !== (driverVolumeType === 'file' ? 'file' : 'other')) {
      const wanted =
        driverVolumeType === 'file' ? 'a regular file outside of the instances path' : 'a block device';
      throw new ComputeError(
        'INVALID_ARGUMENT',
        `${context.operation}: the volume ${data.path} is not ${wanted}`,
        { operation: context.operation, instanceUuid: context.instanceUuid, details: { path: data.path } },
      );
    }
    if (driverVolumeType === 'file' && data.format === 'qcow2') {
      await callNative((addon, id) => addon.inspectImage(data.path, 'qcow2', MAX_VIRTUAL_BYTES, id), context);
    }
  }
}

function withVolume(instance: Instance, attached: AttachedVolume): Instance {
  if (findVolume(instance.volumes, attached.connection)) return instance;
  return { ...instance, volumes: [...(instance.volumes ?? []), attached] };
}

function withoutVolume(instance: Instance, connection: VolumeConnection): Instance {
  const key = volumeKey(connection);
  const volumes = (instance.volumes ?? []).filter((volume) => volumeKey(volume.connection) !== key);
  return { ...instance, volumes };
}

function aliasOf(connection: VolumeConnection): FindAlias {
  const key = volumeKey(connection);
  return ({ disks }) => disks.find((disk) => disk.key === key)?.alias;
}

function inUse(
  { context, instance }: DeviceChange,
  connection: VolumeConnection,
  device: string,
): ComputeError {
  const key = volumeKey(connection);
  return new ComputeError(
    'DEVICE_IN_USE',
    `${context.operation}: ${key} is ${device} of instance ${instance.uuid} already`,
    { operation: context.operation, instanceUuid: instance.uuid, details: { volume: key, device } },
  );
}

function notAttached({ context, instance }: DeviceChange, connection: VolumeConnection): ComputeError {
  const key = volumeKey(connection);
  return new ComputeError(
    'DEVICE_NOT_FOUND',
    `${context.operation}: instance ${instance.uuid} has no volume ${key}; attach it first`,
    { operation: context.operation, instanceUuid: instance.uuid, details: { volume: key } },
  );
}

async function liveTarget(change: DeviceChange, connection: VolumeConnection): Promise<string> {
  const key = volumeKey(connection);
  const own = ownTargets(change.instance, change.host);
  const { disks } = await change.live();
  const disk = disks.find((one) => one.key === key && !own.has(one.target));
  if (!disk) throw notAttached(change, connection);
  return disk.target;
}

/** Of the service's volumes there is nothing to do: the next start shows the guest what it has become. */
async function growAtRest(
  change: DeviceChange,
  connection: VolumeConnection,
  sizeBytes: number,
): Promise<void> {
  if (connection.driverVolumeType !== 'file') return;
  const { context } = change;
  const { path, format } = connection.data;
  const before = (await callNative((addon, id) => addon.imageInfo(path, format, id), context))[
    'virtual-size'
  ];
  if (sizeBytes < before) throw noShrink(change, sizeBytes, before);
  if (sizeBytes > before) {
    await changeFiles((addon, id) => addon.growImage([{ path, format }], sizeBytes, id), context);
  }
}

function noShrink({ context, instance }: DeviceChange, sizeBytes: number, before: number): ComputeError {
  return new ComputeError(
    'INVALID_ARGUMENT',
    `${context.operation}: the volume has ${before} bytes and is never made smaller, ${sizeBytes} are less`,
    {
      operation: context.operation,
      instanceUuid: instance.uuid,
      details: { sizeBytes, currentBytes: before },
    },
  );
}
