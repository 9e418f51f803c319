// One base file per image, fetched once by however many ask, and the disks that are made of it.
import { basename } from 'node:path';
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { callNative } from '../native.js';
import { assertDiskFits } from './base-checks.js';
import { BaseFlights } from './base-flights.js';
import { BaseLookup } from './base-lookup.js';
import { assertSameImage, type BaseRecord } from './base-record.js';
import { BlankBases, type BlankDisk } from './blank-base.js';
import { ageingOptions } from './cache/ageing-options.js';
import { Background } from './cache/background.js';
import { type CacheClock, HostClock } from './cache/clock.js';
import type { CacheContext } from './cache/context.js';
import { makeDirectories } from './cache/layout.js';
import { type CachedImage, listCache } from './cache/list.js';
import { type PruneOptions, type PruneResult, prune } from './cache/pass.js';
import { pinImage, pinnedImages, unpinImage } from './cache/pins.js';
import { recoverCache } from './cache/recovery.js';
import { removeImage } from './cache/remove.js';
import {
  dueForScrub,
  recordContent,
  type ScrubOptions,
  type ScrubResult,
  scrubBase,
  scrubDue,
} from './cache/scrub.js';
import { Stamps } from './cache/stamps.js';
import { type ImageCacheMetrics, type ImageCacheNews, Telemetry } from './cache/telemetry.js';
import { CachePaths, imageKey, isBaseName } from './cache-paths.js';
import type { ImageLayer } from './disk.js';
import { type DiskOptions, parseDiskOptions } from './disk-options.js';
import { ImageSources } from './image-source.js';
import { copyGrown, createInstanceDisk, type DiskBase } from './instance-disk.js';
import type {
  BaseImage,
  BlankBaseOptions,
  EnsureBaseOptions,
  ImageCacheOptions,
  ImageLogger,
  InstanceDisk,
  InstanceDiskOptions,
} from './types.js';

const GIB = 2 ** 30;
/** A base that goes between its fetch and its first hold is fetched again so often. */
const MOST_REFETCHES = 10;
/** One image that is launched all the time is not written down each time. */
const TOUCH_INTERVAL_MS = 1000;

/**
 * Safe to use from any number of calls at once, and by any number of processes on one instances path: within the
 * process one fetch serves all who wait for it, between processes a lock file decides.
 */
export class ImageCache implements AsyncDisposable {
  readonly #context: CacheContext;
  readonly #flights: BaseFlights;
  readonly #background: Background;
  readonly #disks: DiskOptions;
  readonly #blanks: BlankBases;
  /** How a base that has gone since is had again. */
  readonly #origins = new WeakMap<object, (options: InstanceDiskOptions) => Promise<BaseImage>>();
  #directories: Promise<void> | undefined;
  #closed = false;
  #touched = { key: '', at: 0 };

  /** Throws `INVALID_ARGUMENT` for a relative instances path and for wrong options. Touches no file. */
  constructor(options: ImageCacheOptions, clock: CacheClock = new HostClock()) {
    if (!options.instancesPath.startsWith('/')) {
      throw new ComputeError(
        'INVALID_ARGUMENT',
        `the instances path must be absolute, not ${options.instancesPath}`,
      );
    }
    this.#disks = parseDiskOptions(options);
    const paths = new CachePaths(options.instancesPath);
    const logger = options.logger ?? silent;
    this.#context = {
      paths,
      logger,
      maxVirtualBytes: options.maxVirtualBytes ?? 16 * 1024 * GIB,
      reservedBytes: options.reservedBytes ?? GIB / 4,
      forceRaw: this.#disks.forceRaw,
      sources: new ImageSources(options),
      lookup: new BaseLookup(paths),
      used: new Stamps(paths.used, clock),
      scrubbed: new Stamps(paths.scrubbed, clock),
      ageing: ageingOptions(options),
      telemetry: new Telemetry(),
    };
    this.#flights = new BaseFlights(this.#context);
    this.#blanks = new BlankBases(this.#context);
    this.#background = new Background(logger);
  }

  /**
   * Makes the directories, removes what killed processes left in `_base`, and finishes or undoes what they had begun;
   * what another process has under way stays. Call it once at start-up.
   */
  async recover(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly removed: readonly string[] }> {
    await this.#ready();
    return { removed: await recoverCache(this.#context, options.signal) };
  }

  /**
   * The base of that image: fetched, verified, inspected and converted where it is not there yet. A hit costs one
   * lookup. Rejects with `FLAVOR_DISK_TOO_SMALL`, `IMAGE_NOT_FOUND`, `IMAGE_UNACCEPTABLE` (`details.rule`),
   * `IMAGE_CHECKSUM_MISMATCH`, `IMAGE_DOWNLOAD_FAILED`, `UNAUTHORIZED`, `NO_SPACE`, `ABORTED`, `TIMEOUT`,
   * `SYSTEM`; nothing but a complete base ever stands under its final name.
   */
  async ensureBase(image: ImageMeta, options: EnsureBaseOptions): Promise<BaseImage> {
    this.#assertOpen();
    if (options.signal?.aborted) {
      throw new ComputeError('ABORTED', `the fetch of image ${image.id} was aborted`, {
        cause: options.signal.reason,
      });
    }
    const key = imageKey(image.id);
    const { lookup, telemetry } = this.#context;
    const limit = options.flavorRootBytes > 0 ? options.flavorRootBytes : Number.POSITIVE_INFINITY;
    assertDiskFits(image, (image.minDiskGb ?? 0) * GIB, limit);
    const hit = await lookup.usable(key, image);
    if (hit) {
      telemetry.count('hits');
      return this.#base(key, image, hit, 'hit', options);
    }
    await this.#ready();
    const { record, how } = await this.#flights.join(key, image, options, limit);
    telemetry.count(how === 'fetched' ? 'misses' : how === 'joined' ? 'joins' : 'hits');
    if (how === 'fetched' && !record.content) {
      this.#background.run(digestTask(key), (signal) => recordContent(this.#context, key, signal));
    }
    // A flight that was joined fetched for an image of that id, maybe with another checksum.
    assertSameImage(record, image);
    return this.#base(key, image, record, how, options);
  }

  /**
   * Nova's cache_image: as {@link ensureBase}, whose fetches it shares, for an instance that comes later. Also waits until
   * its use is written down and the digest for later scrubs is taken, which a launch does not.
   */
  async prefetch(
    image: ImageMeta,
    options: Omit<EnsureBaseOptions, 'flavorRootBytes'> = {},
  ): Promise<BaseImage> {
    const base = await this.ensureBase(image, { ...options, flavorRootBytes: 0 });
    const key = imageKey(image.id);
    for (const name of [digestTask(key), stampTask(key)])
      await this.#background.settled(name, options.signal);
    return base;
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
    return await this.#ensureBlank({ content: 'ephemeral', size: sizeGb, fileSystem }, options);
  }

  /** The base of swap disks of that many MiB. Needs no program; else as {@link ensureEphemeralBase}. */
  async ensureSwapBase(sizeMb: number, options: BlankBaseOptions = {}): Promise<BaseImage> {
    return await this.#ensureBlank({ content: 'swap', size: sizeMb }, options);
  }

  /**
   * Makes the disk `name` of an instance. With `imagesType` qcow2 the base is hard-linked into the directory
   * (`<name>.base`: it holds the base while the directory stands), then the overlay is written; with raw the base is copied
   * or converted, and no link is left. `sizeBytes` 0 takes the base's size. On failure nothing is left. A base of this cache
   * that was evicted or found damaged since it was given is made again. Rejects with `IMAGE_NOT_FOUND` (retryable) where
   * that does not help, `FLAVOR_DISK_TOO_SMALL`, `SYSTEM`, `NO_SPACE`, `ABORTED`, `TIMEOUT`.
   */
  async createInstanceDisk(
    instanceDirectory: string,
    base: DiskBase,
    sizeBytes: number,
    options: InstanceDiskOptions = {},
  ): Promise<InstanceDisk> {
    const context = { ...this.#context, imagesType: options.format ?? this.#disks.imagesType };
    let origin = this.#origins.get(base);
    for (let again = 0; ; again++) {
      try {
        const disk = await createInstanceDisk(context, instanceDirectory, base, sizeBytes, options);
        await this.#assertSound(base.path, disk);
        return disk;
      } catch (error) {
        if (!origin || again === MOST_REFETCHES || !isGone(error)) throw error;
        context.logger.info('a base went before it was held', { path: base.path });
        base = await origin(options);
        origin = this.#origins.get(base);
      }
    }
  }

  /**
   * A larger copy of a disk of an instance, at `target`, where nothing stands; the image comes first, what it stands on
   * follows. Nothing may have it open. On failure nothing is left. Rejects with `IMAGE_UNACCEPTABLE` (rule `in-use`
   * ...), `NO_SPACE`, `SYSTEM`, `ABORTED`.
   */
  async copyGrown(
    layers: readonly [ImageLayer, ...ImageLayer[]],
    target: string,
    sizeBytes: number,
    options: Pick<InstanceDiskOptions, 'instanceUuid' | 'signal'> = {},
  ): Promise<void> {
    await copyGrown(this.#context, layers, target, sizeBytes, options);
  }

  /** What is cached, the most recently used first. Reads no image data. Rejects with SYSTEM. */
  async list(): Promise<CachedImage[]> {
    await this.#ready();
    return await listCache(this.#context);
  }

  /**
   * Nova's manage_image_cache: removes bases that nothing used for `minAgeMs`, then the least recently used ones above
   * `maxBytes`. Pinned ones, those with a hold, and those that someone works with stay. Rejects with SYSTEM, ABORTED.
   */
  async prune(options: PruneOptions = {}): Promise<PruneResult> {
    await this.#ready();
    return await prune(this.#context, options);
  }

  /**
   * Removes the base of an image, given by its id or by the base's name. Rejects with `IMAGE_IN_USE` (`details.instances`,
   * or retryable where someone works with it just now), `INVALID_STATE` where it is pinned, `IMAGE_NOT_FOUND`.
   */
  async remove(image: string): Promise<void> {
    await this.#ready();
    await removeImage(this.#context, await this.#resolve(image));
  }

  /** It never ages, whether it is there yet or not. Idempotent. Rejects with `INVALID_ARGUMENT`, SYSTEM. */
  async pin(imageId: string): Promise<void> {
    await this.#ready();
    await pinImage(this.#context.paths, imageId);
  }

  /** Idempotent. */
  async unpin(imageId: string): Promise<void> {
    await this.#ready();
    await unpinImage(this.#context.paths, imageId);
  }

  /** Ids, also of images that are not there. */
  async pinned(): Promise<string[]> {
    await this.#ready();
    return await pinnedImages(this.#context.paths);
  }

  /**
   * Reads bases again and compares them with what they were: `images` (ids or names of bases), or all. A damaged one is
   * marked for good and given to no new instance; where nothing stands on it, it is moved to `_base/.quarantine`. The
   * next launch or prefetch fetches it again. Rejects with `IMAGE_NOT_FOUND`, ABORTED, SYSTEM.
   */
  async scrub(options: ScrubOptions & { readonly images?: readonly string[] } = {}): Promise<ScrubResult[]> {
    await this.#ready();
    const { images, ...rest } = options;
    const keys: string[] = [];
    for (const image of images ?? []) keys.push(await this.#resolve(image));
    const results: ScrubResult[] = [];
    for (const key of images ? keys : await dueForScrub(this.#context, 0)) {
      results.push(await scrubBase(this.#context, key, { ...rest, ref: true }));
    }
    return results;
  }

  /** Begins, in the background, to read what was not read for `scrubIntervalMs`. Does nothing where that is under way. */
  scrubDue(): void {
    if (this.#context.ageing.scrubIntervalMs === 0) return;
    this.#background.run('scrub', async (signal) => {
      await this.#ready();
      await scrubDue(this.#context, signal);
    });
  }

  metrics(): ImageCacheMetrics {
    return this.#context.telemetry.metrics();
  }

  /** From now on, in order, until the cache is closed. A slow reader misses the oldest, and reads a `gap`. */
  events(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterableIterator<ImageCacheNews> {
    return this.#context.telemetry.subscribe(options);
  }

  /** Ends the connections to image servers, with what is under way there, and a scrub. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#background.close(), this.#context.sources.close()]);
    this.#context.telemetry.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #base(
    key: string,
    image: ImageMeta,
    record: BaseRecord,
    how: BaseImage['how'],
    options: EnsureBaseOptions,
  ): BaseImage {
    const { flavorRootBytes } = options;
    const { virtualSizeBytes } = record;
    if (flavorRootBytes > 0) assertDiskFits(image, virtualSizeBytes, flavorRootBytes);
    this.#touch(key);
    const path = this.#context.paths.base(key);
    const base: BaseImage = { path, format: record.format, virtualSizeBytes, how };
    this.#origins.set(base, ({ signal, timeoutMs }) =>
      this.ensureBase(image, { ...options, signal, timeoutMs }),
    );
    return base;
  }

  async #ensureBlank(blank: BlankDisk, options: BlankBaseOptions): Promise<BaseImage> {
    await this.#ready();
    const base = await this.#blanks.ensure(blank, options);
    this.#touch(basename(base.path));
    this.#origins.set(base, ({ signal, timeoutMs }) => this.#ensureBlank(blank, { signal, timeoutMs }));
    return base;
  }

  /** A launch does not wait for its use to be written down. */
  #touch(key: string): void {
    const at = performance.now();
    if (this.#touched.key === key && at - this.#touched.at < TOUCH_INTERVAL_MS) return;
    this.#touched = { key, at };
    this.#background.run(stampTask(key), async () => {
      await this.#ready();
      await this.#context.used.touch(key);
    });
  }

  /** After the link: whoever marks a base does so under a lock that excludes it. */
  async #assertSound(path: string, disk: InstanceDisk): Promise<void> {
    const standing = await this.#context.lookup.find(basename(path));
    if (standing?.record?.damagedAt === undefined) return;
    for (const made of [disk.path, disk.baseLink]) {
      if (made === undefined) continue;
      await callNative((addon, id) => addon.removeTree(made, id), { operation: 'undo' });
    }
    throw new ComputeError('IMAGE_UNACCEPTABLE', `the base ${path} was found damaged; launch again`, {
      operation: 'creation of the disk',
      retryable: true,
      details: { rule: 'base-damaged', path },
    });
  }

  /** An image's id comes first, whatever it looks like. */
  async #resolve(image: string): Promise<string> {
    const { paths, lookup } = this.#context;
    const key = imageKey(image);
    if (await lookup.find(key)) return key;
    if (isBaseName(image) && (await lookup.find(image))) return image;
    throw new ComputeError('IMAGE_NOT_FOUND', `image ${image} is not in the cache ${paths.bases}`, {
      operation: 'image cache',
    });
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new ComputeError('CLOSED', 'the image cache is closed', { operation: 'image cache' });
  }

  /** Once; after a failure the next call tries again. */
  async #ready(): Promise<void> {
    this.#assertOpen();
    this.#directories ??= makeDirectories(this.#context.paths).catch((error: unknown) => {
      this.#directories = undefined;
      throw error;
    });
    await this.#directories;
  }
}

/** Names of work in the background. */
function digestTask(key: string): string {
  return `digest of ${key}`;
}

function stampTask(key: string): string {
  return `stamp of ${key}`;
}

function isGone(error: unknown): boolean {
  if (!ComputeError.is(error) || !error.retryable) return false;
  return error.code === 'IMAGE_NOT_FOUND' || error.details['rule'] === 'base-damaged';
}

const silent: ImageLogger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
