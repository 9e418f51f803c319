// How an image that rescues wants its disk shown: Nova's hw_rescue_device and hw_rescue_bus.
import type { ImageMeta } from '../../../driver/model.js';
import { type DiskBus, diskBus } from './image-words.js';
import { choice, type Rule } from './rule.js';

export interface RescueTerms {
  readonly device: 'disk' | 'cdrom';
  /** Undefined: that of the instance's own disks or CD-ROMs. */
  readonly bus: DiskBus | undefined;
  /** Behind all disks and volumes of the instance, which keep their names: Nova's stable device rescue. */
  readonly isLast: boolean;
}

const rescueDevice: Rule<'disk' | 'cdrom'> = choice(['disk', 'cdrom'], {
  elsewhere: ['floppy', 'lun', 'fs'],
});

/** Throws `UNSUPPORTED` for floppy disks, LUNs and buses that no disk of ours can have, `INVALID_ARGUMENT` for other words. */
export function rescueTerms({ diskFormat, properties }: ImageMeta): RescueTerms {
  const { hw_rescue_device: asked, hw_rescue_bus: bus } = properties;
  const isLast = asked !== undefined || bus !== undefined;
  if (!isLast) return { device: diskFormat === 'iso' ? 'cdrom' : 'disk', bus: undefined, isLast };
  const device = asked === undefined ? 'disk' : rescueDevice(asked, 'hw_rescue_device');
  if (bus !== undefined) return { device, bus: diskBus(bus, 'hw_rescue_bus'), isLast };
  const key = device === 'cdrom' ? 'hw_cdrom_bus' : 'hw_disk_bus';
  const usual = properties[key];
  return { device, bus: usual === undefined ? undefined : diskBus(usual, key), isLast };
}
