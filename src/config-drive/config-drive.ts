// The config drive of an instance: its documents, in an ISO 9660 image with the label that cloud-init looks for.
import { randomBytes } from 'node:crypto';
import type { ConfigDriveContent, ConfigDriveFormat } from '../driver/config-drive.js';
import type { Instance } from '../driver/model.js';
import type { DriveFacts } from './drive-facts.js';
import { hostnameOf } from './hostname.js';
import { isoImage } from './iso9660.js';
import type { IsoFile } from './iso9660-tree.js';
import { nocloudFiles } from './nocloud.js';
import { openstackFiles } from './openstack.js';

const LAYOUTS: Readonly<
  Record<ConfigDriveFormat, { readonly label: string; readonly files: (facts: DriveFacts) => IsoFile[] }>
> = {
  openstack: { label: 'config-2', files: openstackFiles },
  nocloud: { label: 'cidata', files: nocloudFiles },
};

/** As much as Nova gives. */
const SEED_BYTES = 512;

/**
 * The bytes of the drive, at most 4 MiB; equal arguments give equal bytes. Synchronous, in memory, without a process: about a
 * millisecond. Throws `INVALID_ARGUMENT` where the content is larger than that.
 *
 * Nova: nova/virt/configdrive.py and nova/api/metadata/base.py, InstanceMetadata.metadata_for_config_drive.
 *
 * @param randomSeed Default: 512 bytes that nobody else has.
 */
export function configDriveImage(
  instance: Instance,
  format: ConfigDriveFormat,
  content: ConfigDriveContent = {},
  randomSeed: Uint8Array = randomBytes(SEED_BYTES),
): Uint8Array {
  const { label, files } = LAYOUTS[format];
  const hostname = content.hostname ?? hostnameOf(instance);
  return isoImage(label, files({ instance, content, hostname, randomSeed }), timeOf(instance));
}

/** An ISO 9660 image can only tell of the years 1900 to 2155. */
function timeOf({ createdAt }: Instance): Date {
  const time = new Date(createdAt);
  return time.getUTCFullYear() >= 1970 && time.getUTCFullYear() <= 2155 ? time : new Date(0);
}
