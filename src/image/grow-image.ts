// A larger disk in the same file.
import { callNative } from '../native.js';
import type { ImageLayer } from './disk.js';
import type { ImageCallOptions } from './image-options.js';

export interface GrownImage {
  readonly oldVirtualSizeBytes: number;
  readonly virtualSizeBytes: number;
}

/**
 * Makes the disk of `layers` larger, in place: the top image alone is changed. Of the one below it only the length is read;
 * where it is longer than the disk was, its rest is hidden by zero clusters, and all images below must be there if the disk
 * ended inside a cluster. After each of its writes, and whatever of them a power failure takes, the image is a good one.
 * Nothing may have it open: it is locked as QEMU locks it. As `qemu-img resize`; docs/images.md lists what is refused.
 * `virtualSizeBytes` is a multiple of 512. Rejects with IMAGE_UNACCEPTABLE and a rule (`in-use` where something has it
 * open), INVALID_ARGUMENT, SYSTEM, NO_SPACE, ABORTED.
 */
export async function growImage(
  layers: readonly ImageLayer[],
  virtualSizeBytes: number,
  options: ImageCallOptions = {},
): Promise<GrownImage> {
  return await callNative((addon, id) => addon.growImage(layers, virtualSizeBytes, id), {
    operation: `growing of ${layers[0]?.path ?? 'an image'}`,
    signal: options.signal,
    waitOnAbort: true,
  });
}
