// snapshot_instance: the root disk becomes the image whose record the API has made in Glance.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { instanceCommand } from './instance-command.js';
import { type InstanceRecord, reasonOf } from './instance-record.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** Task states while the disk of an instance becomes an image: before its upload, as it begins, and until it ends. */
export interface SnapshotStates {
  readonly begun: string;
  readonly pending: string;
  readonly uploading: string;
}

const ASKED = 'image_snapshot_pending';
const UPLOAD: SnapshotStates = {
  begun: 'image_snapshot',
  pending: 'image_pending_upload',
  uploading: 'image_uploading',
};
const STATES = [ASKED, ...Object.values(UPLOAD)];

/** Nova's ComputeManager.snapshot_instance. */
export function snapshotCommand(host: ComputeHost): RpcMethod {
  return instanceCommand(host, {
    event: 'compute_snapshot_instance',
    pending: STATES,
    run: async (record, { image_id: imageId }, isRepeated) => {
      await record.save({ task_state: UPLOAD.begun }, isRepeated ? STATES : [ASKED]);
      await takeSnapshot(host, record, imageId, UPLOAD, isRepeated);
      await record.save({ task_state: null }, [UPLOAD.begun, UPLOAD.uploading]);
    },
    discard: ({ uuid }, { image_id: imageId }) => discardImage(host, uuid, imageId),
  });
}

/** Of an instance whose task is `begun`, into the record that the API has made; its task is then `begun` or `uploading`. */
export async function takeSnapshot(
  { node, signal }: ComputeHost,
  record: InstanceRecord,
  imageId: unknown,
  states: SnapshotStates,
  isRepeated: boolean,
): Promise<void> {
  const upload = new UploadStates(record, states);
  try {
    await node.snapshot(
      record.uuid,
      { type: 'glance', imageId: String(imageId) },
      {
        signal,
        onProgress: ({ step }) => {
          if (step === 'upload') upload.begin();
        },
      },
    );
  } catch (error) {
    // The process that uploaded it did not live to tell.
    if (!(isRepeated && isComplete(error))) throw error;
  } finally {
    await upload.begun();
  }
}

/** Of an image record that the API has made: it goes, unless it is an image by now. */
export async function discardImage(
  { node, signal, log }: ComputeHost,
  uuid: string,
  imageId: unknown,
): Promise<void> {
  try {
    await node.discardSnapshot(uuid, String(imageId), { signal });
  } catch (error) {
    log.warn(`the image ${String(imageId)} of ${uuid} stays as it is in Glance: ${reasonOf(error)}`, {
      instanceUuid: uuid,
    });
  }
}

/** Glance has the bytes already. */
function isComplete(error: unknown): boolean {
  return ComputeError.is(error) && error.code === 'INVALID_STATE' && error.details['status'] === 'active';
}

/** Told while the upload goes on, which does not wait for it. */
class UploadStates {
  readonly #record: InstanceRecord;
  readonly #states: SnapshotStates;
  #saving: Promise<void> | undefined;

  constructor(record: InstanceRecord, states: SnapshotStates) {
    this.#record = record;
    this.#states = states;
  }

  begin(): void {
    this.#saving ??= this.#save();
    this.#saving.catch(() => undefined);
  }

  /** Rejects where the states could not be saved. */
  async begun(): Promise<void> {
    await this.#saving;
  }

  async #save(): Promise<void> {
    const { begun, pending, uploading } = this.#states;
    await this.#record.save({ task_state: pending }, [begun]);
    await this.#record.save({ task_state: uploading }, [pending]);
  }
}
