// One base file per image, fetched once by however many ask, and the disks that are made of it.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { callNative } from '../native.js';
import { assertDiskFits } from './base-checks.js';
import { adoptBase, type FetchContext, fetchBase } from './base-fetch.js';
import { assertSameImage, type BaseRecord, INSPECTOR_VERSION, readRecord } from './base-record.js';
import { BlankBases } from './blank-base.js';
import { tryBaseLock, withBaseLock } from './cache-lock.js';
import { CachePaths, imageKey, keyOfTemporary } from './cache-paths.js';
import { type DiskOptions, parseDiskOptions } from './disk-options.js';
import { describeSource, ImageSources } from './image-source.js';
import { createInstanceDisk, type DiskBase } from './instance-disk.js';
import { type Flight, SingleFlight, type Waiter } from './single-flight.js';
import { removeTemporary } from './temporaries.js';
import type {
  BaseImage,
  BlankBaseOptions,
  EnsureBaseOptions,
  ImageCacheOptions,
  ImageLogger,
  ImageProgress,
  InstanceDisk,
  InstanceDiskOptions,
} from './types.js';

const GIB = 2 ** 30;
const DEFAULT_TIMEOUT_MS = 600_000;
const MAX_DAMAGED_RECHECKS = 1;

/** What statFile said of a base when its record was last compared with it. */
interface Verdict {
  readonly record: BaseRecord;
  readonly inode: number;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
}

interface FlightResult {
  readonly record: BaseRecord;
  readonly how: 'hit' | 'fetched' | 'joined';
}

/**
 * Safe to use from any number of calls at once, and by any number of processes on one instances path: within the
 * process one fetch serves all who wait for it, between processes a lock file decides.
 */
export class ImageCache {
  readonly #context: FetchContext;
  readonly #flights = new SingleFlight<FlightResult, ImageProgress>();
  readonly #verdicts = new Map<string, Verdict>();
  readonly #disks: DiskOptions;
  readonly #blanks: BlankBases;
  #directories: Promise<void> | undefined;

  /** Throws `INVALID_ARGUMENT` for a relative instances path and for wrong options. Touches no file. */
  constructor(options: ImageCacheOptions) {
    if (!options.instancesPath.startsWith('/')) {
      throw new ComputeError(
        'INVALID_ARGUMENT',
        `the instances path must be absolute, not ${options.instancesPath}`,
      );
    }
    this.#disks = parseDiskOptions(options);
    this.#context = {
      paths: new CachePaths(options.instancesPath),
      logger: options.logger ?? silent,
      maxVirtualBytes: options.maxVirtualBytes ?? 16 * 1024 * GIB,
      reservedBytes: options.reservedBytes ?? GIB / 4,
      forceRaw: this.#disks.forceRaw,
      sources: new ImageSources(options),
    };
    this.#blanks = new BlankBases(this.#context);
  }

  /**
   * Makes the directories and removes what killed processes left in `_base/.tmp`; files of a fetch that another
   * process has under way stay. Call it once at start-up.
   */
  async recover(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly removed: readonly string[] }> {
    const { paths, logger } = this.#context;
    await this.#ready();
    const removed: string[] = [];
    const names = await callNative((addon, id) => addon.listDirectory(paths.temporaries, id), {
      operation: 'list temporary files',
    });
    for (const name of names) {
      if (options.signal?.aborted) {
        throw new ComputeError('ABORTED', 'the recovery of the image cache was aborted', {
          cause: options.signal.reason,
        });
      }
      const key = keyOfTemporary(name);
      if (key === undefined) {
        logger.warn('a file in the image cache is none of ours', { path: `${paths.temporaries}/${name}` });
        continue;
      }
      const lock = await tryBaseLock(paths.lock(key));
      if (!lock) continue;
      try {
        await removeTemporary(`${paths.temporaries}/${name}`);
        removed.push(name);
      } finally {
        await lock.release(0);
      }
    }
    if (removed.length > 0) logger.info('removed what interrupted image fetches left', { removed });
    return { removed };
  }

  /**
   * The base of that image: fetched, verified, inspected and converted where it is not there yet. A hit costs one
   * lookup. Rejects with `FLAVOR_DISK_TOO_SMALL`, `IMAGE_NOT_FOUND`, `IMAGE_UNACCEPTABLE` (`details.rule`),
   * `IMAGE_CHECKSUM_MISMATCH`, `IMAGE_DOWNLOAD_FAILED`, `UNAUTHORIZED`, `NO_SPACE`, `ABORTED`, `TIMEOUT`,
   * `SYSTEM`; nothing but a complete base ever stands under its final name.
   */
  async ensureBase(image: ImageMeta, options: EnsureBaseOptions): Promise<BaseImage> {
    const key = imageKey(image.id);
    const limit = options.flavorRootBytes > 0 ? options.flavorRootBytes : Number.POSITIVE_INFINITY;
    assertDiskFits(image, (image.minDiskGb ?? 0) * GIB, limit);
    const hit = await this.#lookup(key, image);
    if (hit) return this.#base(key, image, hit, 'hit', limit);

    const { result, joined } = await this.#join(key, image, this.#waiter(image, options, limit));
    // A flight that was joined fetched for an image of that id, maybe with another checksum.
    assertSameImage(result.record, image);
    return this.#base(key, image, result.record, joined ? 'joined' : result.how, limit);
  }

  /** Ends the connections to image servers, with what is under way there. Idempotent. */
  async close(): Promise<void> {
    await this.#context.sources.close();
  }

  /** Where the base of that image stands, or would. Throws `INVALID_ARGUMENT`. */
  basePath(imageId: string): string {
    return this.#context.paths.base(imageKey(imageId));
  }

  /**
   * The base of ephemeral disks of that many GiB, for guests of that `os_type`: an empty file system with the label
   * `ephemeral0`, made by mkfs where it is not there yet. Rejects with `INVALID_ARGUMENT`, `UNSUPPORTED` (no mkfs),
   * `NO_SPACE`, `ABORTED`, `TIMEOUT`, `SYSTEM`; nothing but a complete base ever stands under its final name.
   */
  async ensureEphemeralBase(
    sizeGb: number,
    osType: string | undefined,
    options: BlankBaseOptions = {},
  ): Promise<BaseImage> {
    const usual = osType?.toLowerCase() === 'windows' ? 'vfat' : 'ext4';
    const fileSystem = this.#disks.ephemeralFormat ?? usual;
    await this.#ready();
    return await this.#blanks.ensure({ content: 'ephemeral', size: sizeGb, fileSystem }, options);
  }

  /** The base of swap disks of that many MiB. Needs no program; else as {@link ensureEphemeralBase}. */
  async ensureSwapBase(sizeMb: number, options: BlankBaseOptions = {}): Promise<BaseImage> {
    await this.#ready();
    return await this.#blanks.ensure({ content: 'swap', size: sizeMb }, options);
  }

  /**
   * Makes the disk `name` of an instance. With `imagesType` qcow2 the base is hard-linked into the directory
   * (`<name>.base`: it holds the base while the directory stands), then the overlay is written; with raw the base is copied
   * or converted, and no link is left. `sizeBytes` 0 takes the base's size. On failure nothing is left. Rejects with
   * `IMAGE_NOT_FOUND` (retryable) where the base has gone since, `FLAVOR_DISK_TOO_SMALL`, `SYSTEM`, `NO_SPACE`, `ABORTED`,
   * `TIMEOUT`.
   */
  async createInstanceDisk(
    instanceDirectory: string,
    base: DiskBase,
    sizeBytes: number,
    options: InstanceDiskOptions = {},
  ): Promise<InstanceDisk> {
    const context = { ...this.#context, imagesType: this.#disks.imagesType };
    return await createInstanceDisk(context, instanceDirectory, base, sizeBytes, options);
  }

  /** Who joins a fetch just as it gives up for being too large for all others starts one of his own. */
  async #join(
    key: string,
    image: ImageMeta,
    waiter: Waiter<ImageProgress>,
  ): Promise<{ readonly result: FlightResult; readonly joined: boolean }> {
    const fly = (flight: Flight<ImageProgress>): Promise<FlightResult> => this.#fly(key, image, flight);
    try {
      return await this.#flights.run(key, waiter, fly);
    } catch (error) {
      if (!ComputeError.is(error) || error.code !== 'FLAVOR_DISK_TOO_SMALL') throw error;
      if (Number(error.details['requiredBytes']) > waiter.limit) throw error;
      return await this.#flights.run(key, waiter, fly);
    }
  }

  #base(key: string, image: ImageMeta, record: BaseRecord, how: BaseImage['how'], limit: number): BaseImage {
    assertDiskFits(image, record.virtualSizeBytes, limit);
    return {
      path: this.#context.paths.base(key),
      format: record.format,
      virtualSizeBytes: record.virtualSizeBytes,
      how,
    };
  }

  #waiter(image: ImageMeta, options: EnsureBaseOptions, limit: number): Waiter<ImageProgress> {
    const { logger } = this.#context;
    return {
      operation: `fetch of image ${image.id}`,
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      limit,
      onProgress: (progress) => {
        try {
          options.onProgress?.(progress);
        } catch (error) {
          logger.warn('a progress listener threw', { imageId: image.id, error: String(error) });
        }
      },
    };
  }

  /** The record of a base that stands and is as it was; undefined where the slow path must look. */
  async #lookup(key: string, image: ImageMeta): Promise<BaseRecord | undefined> {
    const { paths } = this.#context;
    const path = paths.base(key);
    const stat = await callNative((addon, id) => addon.statFile(path, id), { operation: 'look up a base' });
    const known = this.#verdicts.get(key);
    if (!stat) {
      this.#verdicts.delete(key);
      return undefined;
    }
    if (stat.type !== 'file') {
      throw new ComputeError('SYSTEM', `${path} is not a regular file; remove it`, { details: { path } });
    }
    const { inode, sizeBytes, mtimeMs } = stat;
    if (!known || known.inode !== inode || known.sizeBytes !== sizeBytes || known.mtimeMs !== mtimeMs) {
      const record = await readRecord(paths.record(key));
      if (record?.inspectorVersion !== INSPECTOR_VERSION || record.fileSizeBytes !== sizeBytes)
        return undefined;
      this.#verdicts.set(key, { record, inode, sizeBytes, mtimeMs });
      assertSameImage(record, image);
      return record;
    }
    assertSameImage(known.record, image);
    return known.record;
  }

  async #fly(key: string, image: ImageMeta, flight: Flight<ImageProgress>): Promise<FlightResult> {
    const { paths, logger } = this.#context;
    await this.#ready();
    flight.report({ activity: 'waiting' });
    const startedAt = performance.now();
    return await withBaseLock(paths.lock(key), { shared: false, signal: flight.signal }, async () => {
      for (let attempt = 0; ; attempt++) {
        const there = await this.#lookup(key, image);
        // Another process made it while this one waited for the lock.
        if (there) return { record: there, how: 'joined' };
        const adopted = await this.#adopt(key, image, attempt < MAX_DAMAGED_RECHECKS);
        if (adopted === 'missing') break;
        if (adopted !== 'removed') return { record: adopted, how: 'hit' };
      }
      logger.info('fetching an image', { imageId: image.id, source: describeSource(image.source) });
      await fetchBase(this.#context, key, image, flight);
      const record = await this.#lookup(key, image);
      if (!record)
        throw new ComputeError('INTERNAL', `the base of image ${image.id} vanished when it was made`);
      const milliseconds = Math.round(performance.now() - startedAt);
      logger.info('image is in the cache', {
        imageId: image.id,
        milliseconds,
        bytes: record.fileSizeBytes,
      });
      return { record, how: 'fetched' };
    });
  }

  /**
   * A base without a usable record was complete when it got its name: it is inspected again. One whose length is not
   * the recorded one is damaged: it goes where no instance stands on it.
   */
  async #adopt(
    key: string,
    image: ImageMeta,
    mayRemove: boolean,
  ): Promise<BaseRecord | 'missing' | 'removed'> {
    const { paths, logger } = this.#context;
    const path = paths.base(key);
    const stat = await callNative((addon, id) => addon.statFile(path, id), { operation: 'look up a base' });
    if (!stat) return 'missing';
    const old = await readRecord(paths.record(key));
    if (!old || old.fileSizeBytes === stat.sizeBytes) {
      logger.info('inspecting a base again', { imageId: image.id, path });
      await adoptBase(this.#context, key, image, old);
      const record = await this.#lookup(key, image);
      if (record) return record;
    }
    if (stat.links > 1 || !mayRemove) {
      throw new ComputeError('IMAGE_UNACCEPTABLE', `the base ${path} is damaged and instances stand on it`, {
        details: {
          rule: 'base-damaged',
          path,
          sizeBytes: stat.sizeBytes,
          expectedBytes: old?.fileSizeBytes,
        },
      });
    }
    logger.warn('removing a damaged base', { imageId: image.id, path });
    await callNative((addon, id) => addon.removeTree(path, id), { operation: 'remove a damaged base' });
    return 'removed';
  }

  /** Once; after a failure the next call tries again. */
  async #ready(): Promise<void> {
    this.#directories ??= makeDirectories(this.#context.paths).catch((error: unknown) => {
      this.#directories = undefined;
      throw error;
    });
    await this.#directories;
  }
}

async function makeDirectories(paths: CachePaths): Promise<void> {
  const make = (path: string, mode: number): Promise<boolean> =>
    callNative((addon, id) => addon.makeDirectory(path, mode, id), { operation: 'make the image cache' });
  // QEMU runs as another user: it may pass through to the one base that it was told, and list nothing.
  await make(paths.instances, 0o711);
  await make(paths.bases, 0o711);
  await make(paths.temporaries, 0o700);
  await make(paths.locks, 0o700);
}

const silent: ImageLogger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
