// Of what this host does only with servers that have no volumes.
import { ComputeError } from '../../driver/errors.js';
import type { ComputeHost } from '../compute-host.js';
import type { InstanceRecord } from '../instance-record.js';
import { volumeMappings } from './volume-mappings.js';

/** An unshelved server is built without them: one that has any stays where it is. Throws `UNSUPPORTED`. */
export async function refuseVolumes(
  { conductor, name }: ComputeHost,
  { uuid, call }: InstanceRecord,
): Promise<void> {
  if ((await volumeMappings(conductor, uuid, call)).length === 0) return;
  throw new ComputeError(
    'UNSUPPORTED',
    `instance ${uuid} has volumes of Cinder, with which host ${name} does not shelve or unshelve`,
    { operation: 'shelve', instanceUuid: uuid },
  );
}
