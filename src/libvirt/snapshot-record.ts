// What Glance is told of a snapshot: Nova's metadata of one, with what it inherits of the image that its instance was made from.
import type { Instance } from '../driver/model.js';
import type { SnapshotTarget } from '../driver/snapshot.js';
import type { ImageRecord } from '../image/glance-upload.js';

const GIB = 2 ** 30;
const MAX_NAME = 255;
/** The vocabulary of Nova's ImageMetaProps. */
const INHERITED = /^(?:hw_|img_|os_|trait:)|^(?:architecture|vm_mode|hypervisor_type)$/;
/** Of one image and no other: its signature, its volumes, its key; and Glance's own names. */
const ITS_OWN =
  /^img_(?:signature|mappings|block_device_mapping|bdm_v2|config_drive$)|^os_(?:hash_|hidden$|glance_)|_secret_uuid$/;

export function snapshotRecord(
  { uuid, displayName, image, flavor, projectId, userId }: Instance,
  target: Extract<SnapshotTarget, { type: 'glance' }>,
  format: 'qcow2' | 'raw',
  virtualSizeBytes: number,
): ImageRecord {
  return {
    name: (target.name ?? `snapshot of ${displayName}`).slice(0, MAX_NAME),
    diskFormat: format,
    minDiskGb: Math.max(image.minDiskGb ?? 0, flavor.rootGb, Math.ceil(virtualSizeBytes / GIB)),
    minRamMb: image.minRamMb ?? 0,
    properties: {
      ...Object.fromEntries(
        Object.entries(image.properties).filter(([key]) => INHERITED.test(key) && !ITS_OWN.test(key)),
      ),
      image_type: 'snapshot',
      image_location: 'snapshot',
      image_state: 'available',
      base_image_ref: image.id,
      instance_uuid: uuid,
      ...(projectId !== undefined && { owner_id: projectId }),
      ...(userId !== undefined && { user_id: userId }),
    },
  };
}
