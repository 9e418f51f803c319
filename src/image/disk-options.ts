// What bases and disks are made of: three options of the image cache, checked once.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { check } from '../driver/schema.js';
import type { FileSystem } from './mkfs.js';
import type { ImageCacheOptions } from './types.js';

export interface DiskOptions {
  readonly forceRaw: boolean;
  readonly imagesType: 'qcow2' | 'raw';
  /** Undefined: by the guest's operating system. */
  readonly ephemeralFormat: FileSystem | undefined;
}

const schema = v.object({
  forceRawImages: v.optional(v.boolean(), true),
  imagesType: v.optional(v.picklist(['qcow2', 'raw']), 'qcow2'),
  ephemeralFormat: v.optional(v.picklist(['ext4', 'vfat'])),
});

/** Throws `INVALID_ARGUMENT`. */
export function parseDiskOptions(options: ImageCacheOptions): DiskOptions {
  const checked = check(schema, options);
  if (checked.problems) {
    const problems = checked.problems.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new ComputeError('INVALID_ARGUMENT', `options of the image cache: ${problems.join('; ')}`, {
      details: { problems },
    });
  }
  const { forceRawImages, imagesType, ephemeralFormat } = checked.value;
  return { forceRaw: forceRawImages, imagesType, ephemeralFormat };
}
