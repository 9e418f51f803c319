// backup_instance: a snapshot that takes its place among those of its kind; the oldest go.
import type { ComputeHost } from './compute-host.js';
import { unacceptable } from './errors.js';
import { type CommandArguments, instanceCommand } from './instance-command.js';
import { type InstanceRecord, reasonOf } from './instance-record.js';
import type { RpcMethod } from './rpc-endpoint.js';
import { discardImage, type SnapshotStates, takeSnapshot } from './snapshot-command.js';

const UPLOAD: SnapshotStates = {
  begun: 'image_backup',
  pending: 'image_pending_upload',
  uploading: 'image_uploading',
};

interface Rotation {
  /** The user's word, as `daily`. */
  readonly type: string;
  /** Backups that stay. */
  readonly most: number;
}

/** Nova's ComputeManager.backup_instance. */
export function backupCommand(host: ComputeHost): RpcMethod {
  return instanceCommand(host, {
    event: 'compute_backup_instance',
    pending: Object.values(UPLOAD),
    run: async (record, args, isRepeated) => {
      const rotation = rotationOf(args);
      await record.save({ task_state: UPLOAD.begun }, isRepeated ? Object.values(UPLOAD) : [UPLOAD.begun]);
      await takeSnapshot(host, record, args['image_id'], UPLOAD, isRepeated);
      // Before its task ends: a later process then does it again.
      await rotate(host, record, rotation);
      await record.save({ task_state: null }, [UPLOAD.begun, UPLOAD.uploading]);
    },
    discard: ({ uuid }, { image_id: imageId }) => discardImage(host, uuid, imageId),
  });
}

/** Throws `MESSAGE_UNACCEPTABLE`. */
function rotationOf({ backup_type: type, rotation: most }: CommandArguments): Rotation {
  if (typeof type === 'string' && Number.isSafeInteger(most) && Number(most) >= 0)
    return { type, most: Number(most) };
  throw unacceptable('object', 'its backup has no type or no rotation');
}

/** The backup is there: that an old one stays is no failure of it. */
async function rotate(
  { images, signal, log }: ComputeHost,
  { uuid }: InstanceRecord,
  { type, most }: Rotation,
): Promise<void> {
  const warn = (what: string, error: unknown): void => {
    if (signal.aborted) throw error;
    log.warn(`${what} of ${uuid} could not be deleted: ${reasonOf(error)}`, { instanceUuid: uuid });
  };
  // What never became an image takes no place of one.
  const properties = { status: 'active', image_type: 'backup', backup_type: type, instance_uuid: uuid };
  try {
    const ids = await images.list(properties, { signal });
    for (const id of ids.slice(most).reverse()) {
      await images.remove(id, { signal }).catch((error: unknown) => warn(`the old backup ${id}`, error));
    }
  } catch (error) {
    warn('the old backups', error);
  }
}
