// reserve_block_device_name, attach_volume, detach_volume, swap_volume: volumes that come and go.
import { ComputeError } from '../driver/errors.js';
import { DEVICES, freeName, MOST_NAMES, nameOf } from './cinder/device-name.js';
import type { InstanceVolumes } from './cinder/instance-volumes.js';
import { noCinder } from './cinder/no-cinder.js';
import { createMapping, volumeMappings } from './cinder/volume-mappings.js';
import type { Swap } from './cinder/volume-swap.js';
import type { ComputeHost } from './compute-host.js';
import { deviceCommand } from './device-command.js';
import { RpcFailure, unacceptable } from './errors.js';
import type { CommandArguments } from './instance-command.js';
import { InstanceRecord, isUuid, reasonOf } from './instance-record.js';
import { novaFailure } from './nova-failure.js';
import { NovaObject } from './nova-object.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** By the names of Nova's RPC. */
export function volumeCommands(
  host: ComputeHost,
): Record<'reserve_block_device_name' | 'attach_volume' | 'detach_volume' | 'swap_volume', RpcMethod> {
  const volumesOf = (method: string, { uuid }: InstanceRecord): InstanceVolumes => {
    if (host.volumes) return host.volumes;
    throw noCinder(host.name, method, uuid);
  };
  return {
    reserve_block_device_name: async (args, { method, context }) => {
      const record = new InstanceRecord(host, args['instance'], context);
      try {
        const volumes = volumesOf(method, record);
        // Two at a time would be given one name.
        return await volumes.inTurn(record.uuid, () => reserve(host, record, args));
      } catch (error) {
        throw failureOf(error, record);
      }
    },
    attach_volume: deviceCommand(host, 'attach_volume', {
      run: (record, args, isRepeated) =>
        volumesOf('attach_volume', record).attach(record, ofMapping(args), isRepeated),
      giveUp: async (record, args) => host.volumes?.giveUpAttaching(record, ofMapping(args)),
    }),
    detach_volume: deviceCommand(host, 'detach_volume', {
      run: (record, args, isRepeated) =>
        volumesOf('detach_volume', record).detach(record, volumeIdOf(args['volume_id']), isRepeated),
      giveUp: async (record, args) => host.volumes?.giveUpDetaching(record, volumeIdOf(args['volume_id'])),
    }),
    swap_volume: deviceCommand(host, 'swap_volume', {
      run: (record, args, isRepeated) =>
        volumesOf('swap_volume', record).swap(record, swapOf(args), isRepeated),
      giveUp: async (record, args) => host.volumes?.giveUpSwapping(record, swapOf(args)),
    }),
  };
}

/** The record that the volume is to have at Nova. Its API makes the attachment, and sends it with the command. */
async function reserve(
  host: ComputeHost,
  record: InstanceRecord,
  args: CommandArguments,
): Promise<NovaObject> {
  const { node, conductor, signal } = host;
  const { uuid, call, object } = record;
  const { device, disk_bus = null, device_type = null, tag } = args;
  const volumeId = volumeIdOf(args['volume_id']);
  if (tag != null) throw novaFailure('VolumeTaggedAttachNotSupported');
  const instance = await node.get(uuid, { signal });
  const mappings = await volumeMappings(conductor, uuid, call);
  if (mappings.some((one) => one.get('volume_id') === volumeId)) {
    throw novaFailure('InvalidVolume', { reason: `volume ${volumeId} already attached` });
  }
  const named = mappings.flatMap((one) => nameOf(one.get('device_name')) ?? []);
  const metadata = (object.get('system_metadata') ?? {}) as Readonly<Record<string, unknown>>;
  const isScsi = metadata['image_hw_disk_bus'] === 'scsi';
  const name = freeName({ instance, isScsi, named }, nameOf(device));
  if (name === undefined) throw tooMany();
  const fields = {
    source_type: 'volume',
    destination_type: 'volume',
    instance_uuid: uuid,
    boot_index: null,
    volume_id: volumeId,
    device_name: `${DEVICES}${name}`,
    guest_format: null,
    disk_bus,
    device_type,
    tag: null,
  };
  return await createMapping(conductor, fields, call);
}

/** Throws `MESSAGE_UNACCEPTABLE`. */
function ofMapping({ bdm }: CommandArguments): string {
  return volumeIdOf(bdm instanceof NovaObject ? bdm.get('volume_id') : undefined);
}

/** Throws `MESSAGE_UNACCEPTABLE`. */
function swapOf(args: CommandArguments): Swap {
  return {
    fromId: volumeIdOf(args['old_volume_id']),
    toId: volumeIdOf(args['new_volume_id']),
    attachmentId: volumeIdOf(args['new_attachment_id']),
  };
}

function volumeIdOf(id: unknown): string {
  if (typeof id === 'string' && isUuid(id)) return id;
  throw unacceptable('argument', 'it names no volume');
}

function tooMany(): RpcFailure {
  const message = `an instance has at most ${MOST_NAMES} disks`;
  return new RpcFailure({ class: 'TooManyDiskDevices', message, kwargs: { maximum: MOST_NAMES } });
}

/** As exceptions of which Nova's API makes the right status. */
function failureOf(error: unknown, { uuid }: InstanceRecord): unknown {
  if (!ComputeError.is(error) || error.code === 'MESSAGE_UNACCEPTABLE') return error;
  if (error.code === 'INSTANCE_NOT_FOUND') return novaFailure('InstanceNotFound', { instance_id: uuid });
  return novaFailure('InvalidVolume', { reason: reasonOf(error) });
}
