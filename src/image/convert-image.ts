// A disk, one image or a chain of overlays, to a file of its own.
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
import type { ImageLayer } from './disk.js';
import { type ImageProgressOptions, MOST_BYTES } from './image-options.js';
import { secretBytes } from './image-secret.js';
import { inspectImage } from './inspect-image.js';
import {
  convertForeign,
  type EncryptedFormat,
  type ForeignFormat,
  isEncryptedFormat,
  isForeign,
} from './qemu-img.js';

export interface ConvertImageOptions extends ImageProgressOptions {
  readonly format: 'raw' | 'qcow2';
  /** qcow2 only. Default `none`: clusters as they are. */
  readonly compression?: 'none' | 'zlib' | 'zstd' | undefined;
  /** qcow2 only: a power of two from 4 KiB to 2 MiB. Default 64 KiB. */
  readonly clusterSizeBytes?: number | undefined;
  /** Largest disk that is accepted, in bytes. Default 16 TiB. */
  readonly maxVirtualBytes?: number | undefined;
  /** Default: the number of CPUs, at most 4. */
  readonly threads?: number | undefined;
  /** fsync before it resolves. Default true. */
  readonly sync?: boolean | undefined;
  /** Keeps QEMU from the top image meanwhile; rule `in-use` where it has it open already. Not for foreign and encrypted images. Default false. */
  readonly lock?: boolean | undefined;
  /**
   * Of an image that is encrypted by LUKS: its passphrase, UTF-8 without a NUL, at most 8 KiB. It gets into no argument,
   * environment, named file, message or log.
   */
  readonly secret?: string | Uint8Array | undefined;
}

/** A disk image of another hypervisor; no image stands on it or below it. */
export interface ForeignImage {
  readonly path: string;
  readonly format: ForeignFormat;
}

/** An image that is encrypted by LUKS; no image stands on it or below it. */
export interface EncryptedImage {
  readonly path: string;
  readonly format: EncryptedFormat;
}

export interface ConvertedImage {
  readonly virtualSizeBytes: number;
  /** raw: what is no hole. qcow2: the length of the file. */
  readonly writtenBytes: number;
}

/**
 * Writes what the guest of a disk sees to `target`, which must not exist (mode 0600), in this process: on several threads,
 * in a few MiB of memory. `layers` as for {@link openDisk}. Zeros become holes or are left out; where the file system has
 * reflinks, plain clusters become shared ones. Replaces `qemu-img convert` and Nova's `extract_snapshot`.
 *
 * Each qcow2 is validated, content is NOT held against its declared format: {@link inspectImage} images from elsewhere
 * first. Rejects with IMAGE_UNACCEPTABLE and a rule, INVALID_ARGUMENT, SYSTEM, ABORTED; `target` is then gone.
 *
 * A {@link ForeignImage}, and with a `secret` an {@link EncryptedImage}, is inspected, then read by `qemu-img` in a process with
 * limits; to qcow2 it goes by way of a raw file `<target>.raw`. What is written is not encrypted. Of encrypted images: the rules
 * `encrypted` (no secret, or another method than LUKS), `not-encrypted`, `wrong-secret`.
 */
export async function convertImage(
  layers: readonly ImageLayer[] | readonly [ForeignImage | EncryptedImage],
  target: string,
  options: ConvertImageOptions,
): Promise<ConvertedImage> {
  const [top, ...below] = layers;
  if (options.secret !== undefined) {
    if (top === undefined || !isEncryptedFormat(top.format) || below.length > 0) {
      throw new ComputeError('INVALID_ARGUMENT', 'a secret is for one image, of the format qcow2 or luks');
    }
    const secret = secretBytes(options.secret);
    try {
      return await convertByQemu({ path: top.path, format: top.format }, target, options, secret);
    } finally {
      secret.fill(0);
    }
  }
  if (top && (isForeign(top.format) || top.format === 'luks')) {
    return await convertByQemu({ path: top.path, format: top.format }, target, options);
  }
  return await convertDisk(layers as readonly ImageLayer[], target, options);
}

async function convertByQemu(
  image: ForeignImage | EncryptedImage,
  target: string,
  options: ConvertImageOptions,
  secret?: Buffer,
): Promise<ConvertedImage> {
  const { maxVirtualBytes, signal, onProgress } = options;
  const { virtualSizeBytes } = await inspectImage(image.path, {
    format: image.format,
    encrypted: secret !== undefined,
    maxVirtualBytes,
    signal,
  });
  const toRaw = options.format === 'raw';
  const raw = toRaw ? target : `${target}.raw`;
  const { writtenBytes } = await convertForeign({
    source: image.path,
    format: image.format,
    secret,
    target: raw,
    virtualSizeBytes,
    sync: toRaw && (options.sync ?? true),
    signal,
    onProgress,
  });
  if (toRaw) return { virtualSizeBytes, writtenBytes };
  try {
    return await convertDisk([{ path: raw, format: 'raw' }], target, options);
  } finally {
    await callNative((addon, id) => addon.removeTree(raw, id), { operation: `conversion of ${image.path}` });
  }
}

async function convertDisk(
  layers: readonly ImageLayer[],
  target: string,
  options: ConvertImageOptions,
): Promise<ConvertedImage> {
  const native = {
    format: options.format,
    compression: options.compression ?? 'none',
    clusterSizeBytes: options.clusterSizeBytes ?? 65_536,
    maxVirtualBytes: options.maxVirtualBytes ?? MOST_BYTES,
    threads: options.threads ?? 0,
    sync: options.sync ?? true,
    lock: options.lock ?? false,
  };
  return await callNative((addon, id) => addon.convertImage(layers, target, native, id), {
    operation: `conversion of ${layers[0]?.path ?? 'an image'}`,
    signal: options.signal,
    waitOnAbort: true,
    onProgress: options.onProgress,
  });
}
