// What tells that a server is shelved: keys among its system metadata, and the image that its disk became.
import { ComputeError } from '../driver/errors.js';
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

/** An unshelved server is built without its ports: one that has any stays where it is. */
export async function refusePorts(
  { networks, name }: ComputeHost,
  { uuid, call }: InstanceRecord,
): Promise<void> {
  if (!(await networks?.hasAny(uuid, call))) return;
  throw new ComputeError(
    'UNSUPPORTED',
    `instance ${uuid} has ports of Neutron, with which host ${name} does not shelve or unshelve`,
    { operation: 'shelve', instanceUuid: uuid },
  );
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
