// snapshot_instance: the root disk becomes the image whose record the API has made in Glance.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { instanceCommand } from './instance-command.js';
import { type InstanceRecord, reasonOf } from './instance-record.js';
import type { RpcMethod } from './rpc-endpoint.js';

const STATES = ['image_snapshot_pending', 'image_snapshot', 'image_pending_upload', 'image_uploading'];

/** Nova's ComputeManager.snapshot_instance. */
export function snapshotCommand(host: ComputeHost): RpcMethod {
  const { node, signal } = host;
  return instanceCommand(host, {
    event: 'compute_snapshot_instance',
    pending: STATES,
    run: async (record, { image_id: imageId }, isRepeated) => {
      const [pending = ''] = STATES;
      await record.save({ task_state: 'image_snapshot' }, isRepeated ? STATES : [pending]);
      const states = new UploadStates(record);
      try {
        await node.snapshot(
          record.uuid,
          { type: 'glance', imageId: String(imageId) },
          {
            signal,
            onProgress: ({ step }) => {
              if (step === 'upload') states.begin();
            },
          },
        );
      } catch (error) {
        // The process that uploaded it did not live to tell.
        if (!(isRepeated && isComplete(error))) throw error;
      } finally {
        await states.begun();
      }
      await record.save({ task_state: null }, ['image_snapshot', 'image_uploading']);
    },
    discard: ({ uuid }, { image_id: imageId }) => discardImage(host, uuid, imageId),
  });
}

/** The record that the API has made, unless it is an image by now. */
async function discardImage(
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
  #saving: Promise<void> | undefined;

  constructor(record: InstanceRecord) {
    this.#record = record;
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
    await this.#record.save({ task_state: 'image_pending_upload' }, ['image_snapshot']);
    await this.#record.save({ task_state: 'image_uploading' }, ['image_pending_upload']);
  }
}
