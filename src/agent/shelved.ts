// What a shelved server is: keys among its system metadata, the image that its disk became, ports that no host has.
import type { ComputeHost } from './compute-host.js';
import { type Fields, type InstanceRecord, reasonOf } from './instance-record.js';

const IMAGE = 'shelved_image_id';

/** Nova's names; Python's way to write a time of UTC. */
export function shelvedKeys(host: ComputeHost, imageId: unknown): Fields {
  const now = new Date().toISOString().slice(0, -1);
  return { shelved_at: now, [IMAGE]: imageId, shelved_host: host.name };
}

export function systemMetadata({ object }: InstanceRecord): Fields {
  return (object.get('system_metadata') ?? {}) as Fields;
}

export function isShelved(record: InstanceRecord): boolean {
  return typeof systemMetadata(record)[IMAGE] === 'string';
}

/** Of a server that is on this host no more: its ports stay its own. A binding that Neutron does not end hinders no other host. */
export async function leaveNetworks(
  { networks, signal, log }: ComputeHost,
  { uuid }: InstanceRecord,
): Promise<void> {
  try {
    await networks?.leave(uuid);
  } catch (error) {
    if (signal.aborted) throw error;
    log.warn(`the ports of ${uuid} stay bound to this host: ${reasonOf(error)}`, { instanceUuid: uuid });
  }
}

/**
 * Saves these fields of a server that runs, without the keys. The image goes last: until all is saved it may be the only one
 * that has the disk.
 */
export async function saveRunning(
  host: ComputeHost,
  record: InstanceRecord,
  fields: Fields,
  expectedTaskState: string,
): Promise<void> {
  // What a message says is no reason to delete an image.
  if (isShelved(record)) await record.refresh();
  const { shelved_at: _at, shelved_host: _host, [IMAGE]: imageId, ...rest } = systemMetadata(record);
  if (typeof imageId !== 'string') return await record.save(fields, [expectedTaskState]);
  await record.save({ ...fields, system_metadata: rest }, [expectedTaskState]);
  try {
    await host.images.remove(imageId, { signal: host.signal });
  } catch (error) {
    host.log.warn(`the image ${imageId} of ${record.uuid}, shelved no more, stays: ${reasonOf(error)}`, {
      instanceUuid: record.uuid,
      imageId,
    });
  }
}
