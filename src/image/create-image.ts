// A new qcow2 image: empty, or an overlay.
import { callNative } from '../native.js';
import type { ImageLayer } from './disk.js';
import type { ImageCallOptions } from './image-options.js';

export interface CreateImageOptions extends ImageCallOptions {
  /** Of the disk; a multiple of 512. */
  readonly virtualSizeBytes: number;
  /** The image below it. Its path and format are written to the header; it is not opened. */
  readonly backing?: ImageLayer | undefined;
  /** A power of two from 512 bytes to 2 MiB. Default 64 KiB. */
  readonly clusterSizeBytes?: number | undefined;
  /** What QEMU compresses clusters with, should it write compressed ones. Default zlib. */
  readonly compression?: 'zlib' | 'zstd' | undefined;
}

/**
 * Writes a qcow2 version 3 of a few clusters, whatever its size, as `qemu-img create -f qcow2`, without a process and without
 * fsync. `path` must not exist (mode 0600). Rejects with INVALID_ARGUMENT for a size that its clusters cannot hold or a backing
 * name too long for them, SYSTEM, NO_SPACE, ABORTED; no file is then left.
 */
export async function createImage(path: string, options: CreateImageOptions): Promise<void> {
  const native = {
    ...(options.backing && { backing: options.backing }),
    virtualSizeBytes: options.virtualSizeBytes,
    clusterSizeBytes: options.clusterSizeBytes ?? 65_536,
    compression: options.compression ?? 'zlib',
  };
  await callNative((addon, id) => addon.createQcow2(path, native, id), {
    operation: `creation of ${path}`,
    signal: options.signal,
    waitOnAbort: true,
  });
}
