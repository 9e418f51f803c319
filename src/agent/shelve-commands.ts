// shelve_instance, shelve_offload_instance: a server's disk becomes an image, and the server leaves the host.
import { ComputeError } from '../driver/errors.js';
import { refuseVolumes } from './cinder/refuse-volumes.js';
import type { ComputeHost } from './compute-host.js';
import { type CommandArguments, instanceCommand } from './instance-command.js';
import { type InstanceRecord, isGoing, powerCode, reasonOf } from './instance-record.js';
import { outlast } from './outage.js';
import { persist } from './persist.js';
import type { RpcMethod } from './rpc-endpoint.js';
import { isShelved, leaveNetworks, shelvedKeys, systemMetadata } from './shelved.js';
import { discardImage, type SnapshotStates, takeSnapshot } from './snapshot-command.js';

const UPLOAD: SnapshotStates = {
  begun: 'shelving',
  pending: 'shelving_image_pending_upload',
  uploading: 'shelving_image_uploading',
};
const OFFLOADING = 'shelving_offloading';

export interface ShelveOptions {
  /** A server that is shelved leaves the host at once. */
  readonly offloads: boolean;
}

/** By the names of Nova's RPC. */
export function shelveCommands(host: ComputeHost, { offloads }: ShelveOptions): Record<string, RpcMethod> {
  const after = offloads ? OFFLOADING : null;
  return {
    shelve_instance: instanceCommand(host, {
      event: 'compute_shelve_instance',
      // Its failure starts the guest again.
      isOnce: true,
      pending: [...Object.values(UPLOAD), OFFLOADING],
      run: async (record, args, isRepeated) => {
        const isStored = isRepeated && record.taskState === OFFLOADING;
        if (!isStored) await shelve(host, record, args, after, isRepeated);
        if (isStored || offloads) await offload(host, record);
      },
      discard: ({ uuid }, { image_id: imageId }) => discardImage(host, uuid, imageId),
    }),
    shelve_offload_instance: instanceCommand(host, {
      event: 'compute_shelve_offload_instance',
      isOnce: true,
      pending: [OFFLOADING],
      run: (record) => offload(host, record),
    }),
  };
}

async function shelve(
  host: ComputeHost,
  record: InstanceRecord,
  { image_id: imageId, clean_shutdown: clean = true }: CommandArguments,
  after: string | null,
  isRepeated: boolean,
): Promise<void> {
  const { node, signal } = host;
  await record.save({ task_state: UPLOAD.begun }, isRepeated ? Object.values(UPLOAD) : [UPLOAD.begun]);
  await refuseVolumes(host, record);
  const { uuid, vmState } = record;
  try {
    const shutdownTimeoutMs = clean === true ? host.shutdownTimeoutMs : 0;
    // It stays down whatever becomes of this process: the image and the disk do not part.
    await node.shutdown(uuid, { signal, shutdownTimeoutMs });
    await takeSnapshot(host, record, imageId, UPLOAD, isRepeated);
    const fields = {
      vm_state: 'shelved',
      task_state: after,
      power_state: powerCode('shutdown'),
      system_metadata: { ...systemMetadata(record), ...shelvedKeys(host, imageId) },
    };
    await record.save(fields, [UPLOAD.begun, UPLOAD.uploading]);
  } catch (error) {
    if (!signal.aborted && !isGoing(error) && vmState === 'active') await startAgain(host, uuid);
    throw error;
  }
}

/** Where it does not start, the failure of the command tells its state. */
async function startAgain(host: ComputeHost, uuid: string): Promise<void> {
  const { node, signal } = host;
  await outlast(host, uuid, () => node.start(uuid, { signal })).catch((error: unknown) => {
    host.log.warn(`instance ${uuid} was not shelved, and does not start again: ${reasonOf(error)}`, {
      instanceUuid: uuid,
    });
  });
}

/** Nothing of it stays here; the scheduler finds it a host when it is wanted again. */
async function offload(host: ComputeHost, record: InstanceRecord): Promise<void> {
  const { node, placement, schedulers, signal } = host;
  const { uuid } = record;
  // As it is stored: a message that is not true ends no guest.
  await record.save({ task_state: OFFLOADING }, [OFFLOADING]);
  refuseOther(host, record);
  // Which it may have got since it was shelved.
  await refuseVolumes(host, record);
  await outlast(host, uuid, () => node.terminate(uuid, { signal }));
  await leaveNetworks(host, record);
  await persist(signal, () => placement.removeConsumer(uuid));
  const states = { vm_state: 'shelved_offloaded', task_state: null, power_state: powerCode('shutdown') };
  await record.save({ ...states, host: null, node: null }, [OFFLOADING]);
  await schedulers.remove(host.name, uuid, record.call).catch(() => undefined);
}

function refuseOther({ name }: ComputeHost, record: InstanceRecord): void {
  const { uuid, vmState, object } = record;
  if (vmState === 'shelved' && isShelved(record) && object.get('host') === name) return;
  throw new ComputeError(
    'INVALID_STATE',
    `instance ${uuid} is not shelved on host ${name}, and stays as it is`,
    { operation: 'shelve_offload', instanceUuid: uuid },
  );
}
