// What an image says of itself, without judging it.
import { callNative, type NativeImageInfo } from '../native.js';
import type { ImageCallOptions } from './image-options.js';

export type ImageInfo = NativeImageInfo;

/**
 * The fields of `qemu-img info --output=json -f <format>`, QEMU 7.2, without a process and without opening another file. Names in it
 * are the image's own: hostile until escaped. Rejects with IMAGE_UNACCEPTABLE and a rule, SYSTEM, ABORTED.
 */
export async function imageInfo(
  path: string,
  format: 'raw' | 'qcow2',
  options: ImageCallOptions = {},
): Promise<ImageInfo> {
  return await callNative((addon, id) => addon.imageInfo(path, format, id), {
    operation: `information on ${path}`,
    signal: options.signal,
  });
}
