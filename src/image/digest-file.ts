// The hash of a file as it lies there.
import type { ImageChecksum } from '../driver/model.js';
import { callNative } from '../native.js';
import type { ImageCallOptions } from './image-options.js';

/** Hexadecimal, in lower case. Rejects with SYSTEM, ABORTED. */
export async function digestFile(
  path: string,
  algorithm: ImageChecksum['algorithm'],
  options: ImageCallOptions = {},
): Promise<string> {
  return await callNative((addon, id) => addon.digestFile(path, algorithm, id), {
    operation: `digest of ${path}`,
    signal: options.signal,
  });
}
