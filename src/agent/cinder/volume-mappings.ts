// Nova's records of the volumes that an instance has: BlockDeviceMapping. A conductor that is away is waited for.
import { ComputeError } from '../../driver/errors.js';
import type { VolumeConnection } from '../../driver/volume.js';
import type { Conductor } from '../conductor.js';
import { RemoteError } from '../errors.js';
import type { NovaObject } from '../nova-object.js';
import { persist } from '../persist.js';
import type { CallOptions } from '../rpc-client.js';
import type { Attachment } from './resources.js';

type Call = CallOptions & { readonly signal: AbortSignal };
type Fields = Readonly<Record<string, unknown>>;

/** Undefined: the instance has no such volume, to Nova. */
export async function findMapping(
  conductor: Conductor,
  instanceUuid: string,
  volumeId: string,
  call: Call,
): Promise<NovaObject | undefined> {
  const asked = { args: [volumeId, instanceUuid] };
  try {
    return await persist(call.signal, () =>
      conductor.get('BlockDeviceMapping', 'get_by_volume_and_instance', asked, call),
    );
  } catch (error) {
    if (RemoteError.of(error, 'VolumeBDMNotFound')) return undefined;
    throw error;
  }
}

export async function volumeMappings(
  conductor: Conductor,
  instanceUuid: string,
  call: Call,
): Promise<readonly NovaObject[]> {
  const all = await persist(call.signal, () => conductor.blockDeviceMappings(instanceUuid, call));
  return all.filter((one) => one.get('destination_type') === 'volume');
}

/** Where the answer was lost it may be there already. */
export async function createMapping(conductor: Conductor, fields: Fields, call: Call): Promise<NovaObject> {
  const mapping = conductor.newObject('BlockDeviceMapping', fields);
  return await persist(call.signal, async (isAgain) => {
    const { instance_uuid: uuid, volume_id: volumeId } = fields;
    const made = isAgain && (await findMapping(conductor, String(uuid), String(volumeId), call));
    if (made) return made;
    await conductor.create(mapping, call);
    return mapping;
  });
}

export async function saveMapping(
  conductor: Conductor,
  mapping: NovaObject,
  fields: Fields,
  call: Call,
): Promise<void> {
  for (const [field, value] of Object.entries(fields)) mapping.set(field, value);
  await persist(call.signal, () => conductor.save(mapping, call));
}

/** Gone already is success. */
export async function destroyMapping(conductor: Conductor, mapping: NovaObject, call: Call): Promise<void> {
  await persist(call.signal, () => conductor.destroy(mapping, call));
}

/** As Nova's host keeps it in the record. */
export function connectionInfo(
  { connection_info: info, status, instance, attached_at, detached_at, volume_id }: Attachment,
  { serial, multiattach }: VolumeConnection,
): string {
  const { driver_volume_type, attachment_id: _id, ...data } = info;
  const told = { driver_volume_type, data, status, instance, attached_at, detached_at, volume_id };
  return JSON.stringify({ ...told, serial, ...(multiattach && { multiattach }) });
}

/** Throws `UNSUPPORTED` for what was attached without one, as before Nova 17. */
export function attachmentOf(mapping: NovaObject): string {
  const id = mapping.get('attachment_id');
  if (typeof id === 'string') return id;
  const volumeId = String(mapping.get('volume_id'));
  throw new ComputeError('UNSUPPORTED', `volume ${volumeId} has no attachment in Cinder`, {
    operation: 'attachment',
    details: { volumeId },
  });
}
