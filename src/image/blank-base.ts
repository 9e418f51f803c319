// Bases that no image is: an empty file system for ephemeral disks, a swap area; made once for each size, shared by all.
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
import type { BaseLookup } from './base-lookup.js';
import { INSPECTOR_VERSION } from './base-record.js';
import { withBaseLock } from './cache-lock.js';
import { type CachePaths, ephemeralKey, swapKey } from './cache-paths.js';
import { type FileSystem, MKFS, makeFileSystem } from './mkfs.js';
import { publishBase } from './publish-base.js';
import { type Flight, SingleFlight } from './single-flight.js';
import { removeLeftovers } from './temporaries.js';
import type { BaseImage, BlankBaseOptions, ImageLogger } from './types.js';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const DEFAULT_TIMEOUT_MS = 600_000;

/** `size` is in GiB for an ephemeral disk, in MiB for swap, as in flavors. */
export type BlankDisk =
  | { readonly content: 'ephemeral'; readonly size: number; readonly fileSystem: FileSystem }
  | { readonly content: 'swap'; readonly size: number };

export interface BlankContext {
  readonly paths: CachePaths;
  readonly logger: ImageLogger;
  readonly maxVirtualBytes: number;
  readonly lookup: BaseLookup;
}

/** Where one comes from, as its record tells it and its name is made of it. */
function commandOf(blank: BlankDisk): string {
  if (blank.content === 'swap') return 'swap area';
  const { program, words } = MKFS[blank.fileSystem];
  return [program, ...words].join(' ');
}

function keyOf(blank: BlankDisk): string {
  return blank.content === 'swap' ? swapKey(blank.size) : ephemeralKey(blank.size, commandOf(blank));
}

function bytesOf({ content, size }: BlankDisk): number {
  return size * (content === 'swap' ? MIB : GIB);
}

/** As those of images: safe for any number of calls and processes, one making serves all who wait for it. */
export class BlankBases {
  readonly #context: BlankContext;
  readonly #flights = new SingleFlight<'hit' | 'fetched' | 'joined', never>();

  constructor(context: BlankContext) {
    this.#context = context;
  }

  /** A hit costs one lookup. The directories of the cache must stand. */
  async ensure(blank: BlankDisk, options: BlankBaseOptions): Promise<BaseImage> {
    const key = keyOf(blank);
    const bytes = bytesOf(blank);
    const { maxVirtualBytes, paths } = this.#context;
    const most =
      blank.content === 'swap'
        ? maxVirtualBytes
        : Math.min(maxVirtualBytes, MKFS[blank.fileSystem].mostBytes);
    if (!Number.isSafeInteger(blank.size) || bytes <= 0 || bytes > most) {
      throw new ComputeError(
        'INVALID_ARGUMENT',
        `the size of the ${blank.content} disk must be a whole number and at most ${most} bytes, not ${bytes}`,
        { details: { bytes, mostBytes: most } },
      );
    }
    const path = paths.base(key);
    const there = { path, format: 'raw', virtualSizeBytes: bytes } as const;
    if (await this.#stands(key, bytes)) return { ...there, how: 'hit' };
    const waiter = {
      operation: `making of ${key}`,
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      limit: Number.POSITIVE_INFINITY,
      onProgress: () => undefined,
    };
    const { result, joined } = await this.#flights.run(key, waiter, (flight) =>
      withBaseLock(paths.lock(key), { shared: false, signal: flight.signal }, async () => {
        // Another process made it while this one waited for the lock.
        if (await this.#stands(key, bytes)) return 'joined';
        await this.#removeDamaged(path, bytes);
        await this.#make(blank, key, bytes, flight);
        return 'fetched';
      }),
    );
    return { ...there, how: joined ? 'joined' : result };
  }

  /** Its name proves that it is complete, and its bytes are ours: only its length is looked at, and what a scrub said. */
  async #stands(key: string, bytes: number): Promise<boolean> {
    const standing = await this.#context.lookup.find(key);
    return standing?.stat.sizeBytes === bytes && standing.record?.damagedAt === undefined;
  }

  async #removeDamaged(path: string, bytes: number): Promise<void> {
    const stat = await callNative((addon, id) => addon.statFile(path, id), { operation: 'look up a base' });
    if (!stat) return;
    if (stat.links > 1) {
      throw new ComputeError('IMAGE_UNACCEPTABLE', `the base ${path} is damaged and instances stand on it`, {
        details: { rule: 'base-damaged', path, sizeBytes: stat.sizeBytes, expectedBytes: bytes },
      });
    }
    this.#context.logger.warn('removing a damaged base', { path });
    await callNative((addon, id) => addon.removeTree(path, id), { operation: 'remove a damaged base' });
  }

  async #make(blank: BlankDisk, key: string, bytes: number, { signal }: Flight<never>): Promise<void> {
    const { paths, logger } = this.#context;
    await removeLeftovers(paths, key);
    const file = paths.temporary(key, 'format');
    try {
      if (blank.content === 'ephemeral') await makeFileSystem(file, blank.fileSystem, bytes, signal);
      else {
        await callNative((addon, id) => addon.createSwapArea(file, bytes, id), {
          operation: 'making of a swap area',
          signal,
          waitOnAbort: true,
        });
      }
      const record = {
        imageId: key,
        source: commandOf(blank),
        diskFormat: 'raw',
        checksum: null,
        sourceSizeBytes: null,
        format: 'raw',
        virtualSizeBytes: bytes,
        fileSizeBytes: bytes,
        content: null,
        inspectorVersion: INSPECTOR_VERSION,
        createdAt: new Date().toISOString(),
      } as const;
      await publishBase(paths, key, file, record, signal);
      logger.info('made a base', { path: paths.base(key), command: commandOf(blank) });
    } finally {
      await removeLeftovers(paths, key);
    }
  }
}
