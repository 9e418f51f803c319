// A guest's disk, one image or a chain of overlays: random reads, its map, and streams for uploads.
import { Readable } from 'node:stream';
import { callNative, type NativeDisk, type NativeExtent, type NativeLayer } from '../native.js';
import { type ImageCallOptions, MOST_BYTES } from './image-options.js';

/** One image of a disk. Only files named here are opened: the backing name in a header never is. */
export type ImageLayer = NativeLayer;

/**
 * A stretch of the disk. `hole`: no image of the chain says anything; like `zeros` it reads as zeros. `fileOffset` is where
 * plain `data` stands in the file of its `layer` (0 is the top one).
 */
export type DiskExtent = NativeExtent;

export interface OpenDiskOptions extends ImageCallOptions {
  /** Largest disk that is accepted, in bytes. Default 16 TiB. */
  readonly maxVirtualBytes?: number | undefined;
}

export interface DiskStreamOptions {
  readonly format: 'raw' | 'qcow2';
  readonly signal?: AbortSignal | undefined;
}

/** What an upload needs: the bytes, and how many there will be. */
export interface DiskStream {
  readonly sizeBytes: number;
  /** Reads one piece ahead of its reader; ends in an error where the disk is written to meanwhile. */
  readonly body: Readable;
}

const PIECE_BYTES = 1024 ** 2;

/**
 * Opens a disk from its images, the top one first: `[{ path: overlay, format: 'qcow2' }, { path: base, format: 'raw' }]`.
 * Every qcow2 is validated whole before a byte is read. The disk must not be in use: nothing writes to it while it is open.
 *
 * Rejects with IMAGE_UNACCEPTABLE and the rule that an image breaks (`backing-file` where an image below is missing or
 * one too many is named), SYSTEM, ABORTED.
 */
export async function openDisk(layers: readonly ImageLayer[], options: OpenDiskOptions = {}): Promise<Disk> {
  const limit = options.maxVirtualBytes ?? MOST_BYTES;
  const disk = await callNative((addon, id) => addon.openDisk(layers, limit, id), {
    operation: `opening of the disk ${layers[0]?.path ?? ''}`,
    signal: options.signal,
  });
  return new Disk(disk);
}

/** An open disk; close it, or let `using` do so. All calls may run side by side. */
export class Disk implements Disposable {
  readonly #disk: NativeDisk;

  /** @internal From {@link openDisk}. */
  constructor(disk: NativeDisk) {
    this.#disk = disk;
  }

  /** In whole sectors of 512 bytes, as QEMU counts. */
  get sizeBytes(): number {
    return this.#disk.sizeBytes;
  }

  /** What the guest reads there: at most 64 MiB, inside the disk. */
  async read(offset: number, bytes: number, options: ImageCallOptions = {}): Promise<Buffer> {
    return await callNative((_addon, id) => this.#disk.read(offset, bytes, id), {
      operation: 'reading of a disk',
      signal: options.signal,
    });
  }

  /** What the disk is made of, from its start to its end: extents that follow each other. Reads tables only. */
  async *extents(options: ImageCallOptions = {}): AsyncGenerator<DiskExtent, void, undefined> {
    for (let offset = 0; offset < this.sizeBytes; ) {
      const found = await callNative((_addon, id) => this.#disk.map(offset, id), {
        operation: 'map of a disk',
        signal: options.signal,
      });
      yield* found;
      const last = found.at(-1);
      offset = last ? last.offset + last.bytes : this.sizeBytes;
    }
  }

  /**
   * The disk as a file that never exists: as it is (`raw`), or as a standalone, uncompressed `qcow2` image without what
   * its map shows as zeros. Compressed images have no length before their last byte is known: convert to a file for them.
   */
  async stream(options: DiskStreamOptions): Promise<DiskStream> {
    const { format, signal } = options;
    if (format === 'raw') {
      const read = (offset: number): Promise<Buffer> =>
        this.read(offset, Math.min(PIECE_BYTES, this.sizeBytes - offset), { signal });
      return pieces(this.sizeBytes, read, signal);
    }
    const image = await callNative((_addon, id) => this.#disk.openQcow2Stream(id), {
      operation: 'layout of an image',
      signal,
    });
    const cluster = image.clusterSizeBytes;
    const read = (offset: number): Promise<Buffer> => {
      const first = offset / cluster;
      const count = Math.min(PIECE_BYTES / cluster, image.clusters - first);
      return callNative((_addon, id) => image.read(first, count, id), {
        operation: 'reading of a disk',
        signal,
      });
    };
    return pieces(image.clusters * cluster, read, signal);
  }

  /** Idempotent. Calls and streams that run keep the files open until they end. */
  close(): void {
    this.#disk.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function pieces(
  sizeBytes: number,
  read: (offset: number) => Promise<Buffer>,
  signal: AbortSignal | undefined,
): DiskStream {
  async function* inOrder(): AsyncGenerator<Buffer, void, undefined> {
    let next = sizeBytes > 0 ? read(0) : undefined;
    for (let offset = 0; next !== undefined; ) {
      const piece = await next;
      offset += piece.length;
      next = offset < sizeBytes ? read(offset) : undefined;
      // Looked at when its turn comes; a reader that goes away must not leave a rejection that nobody sees.
      next?.catch(() => {});
      yield piece;
    }
  }
  return {
    sizeBytes,
    body: Readable.from(inOrder(), { objectMode: false, ...(signal && { signal }) }),
  };
}
