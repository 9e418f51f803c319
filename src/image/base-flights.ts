// Fetches under way: one for each image in the process, one of all processes at a time, whoever wants it.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { adoptBase, fetchBase } from './base-fetch.js';
import { isDamaged } from './base-lookup.js';
import type { BaseRecord } from './base-record.js';
import type { CacheContext } from './cache/context.js';
import { condemn } from './cache/damage.js';
import { withBaseLock } from './cache-lock.js';
import { describeSource } from './image-source.js';
import { type Flight, SingleFlight, type Waiter } from './single-flight.js';
import type { EnsureBaseOptions, ImageProgress } from './types.js';

const DEFAULT_TIMEOUT_MS = 600_000;

export interface FlightResult {
  readonly record: BaseRecord;
  readonly how: 'hit' | 'fetched' | 'joined';
}

export class BaseFlights {
  readonly #context: CacheContext;
  readonly #imageIds = new Map<string, string>();
  readonly #flights: SingleFlight<FlightResult, ImageProgress>;

  constructor(context: CacheContext) {
    this.#context = context;
    this.#flights = new SingleFlight((key, progress) => {
      const imageId = this.#imageIds.get(key);
      if (imageId !== undefined) context.telemetry.publish({ kind: 'progress', imageId, ...progress });
    });
  }

  /** Who joins a fetch just as it gives up for being too large for all others starts one of his own. */
  async join(
    key: string,
    image: ImageMeta,
    options: Omit<EnsureBaseOptions, 'flavorRootBytes'>,
    limit: number,
  ): Promise<FlightResult> {
    const waiter = this.#waiter(image, options, limit);
    const fly = (flight: Flight<ImageProgress>): Promise<FlightResult> => this.#watched(key, image, flight);
    const run = async (): Promise<FlightResult> => {
      const { result, joined } = await this.#flights.run(key, waiter, fly);
      return joined ? { ...result, how: 'joined' } : result;
    };
    try {
      return await run();
    } catch (error) {
      if (!ComputeError.is(error) || error.code !== 'FLAVOR_DISK_TOO_SMALL') throw error;
      if (Number(error.details['requiredBytes']) > waiter.limit) throw error;
      return await run();
    }
  }

  #waiter(
    image: ImageMeta,
    options: Omit<EnsureBaseOptions, 'flavorRootBytes'>,
    limit: number,
  ): Waiter<ImageProgress> {
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

  async #watched(key: string, image: ImageMeta, flight: Flight<ImageProgress>): Promise<FlightResult> {
    const { telemetry } = this.#context;
    const begin = performance.now();
    const landed = telemetry.takesOff();
    this.#imageIds.set(key, image.id);
    try {
      return await this.#fly(key, image, flight);
    } catch (error) {
      telemetry.failed(image.id, error, performance.now() - begin);
      throw error;
    } finally {
      this.#imageIds.delete(key);
      landed();
    }
  }

  async #fly(key: string, image: ImageMeta, flight: Flight<ImageProgress>): Promise<FlightResult> {
    const { paths, lookup, telemetry } = this.#context;
    flight.report({ activity: 'waiting' });
    const locked = telemetry.waits();
    try {
      return await withBaseLock(paths.lock(key), { shared: false, signal: flight.signal }, async () => {
        locked();
        const there = await lookup.usable(key, image);
        // Another process made it while this one waited for the lock.
        if (there) return { record: there, how: 'joined' };
        const found = await this.#adopt(key, image);
        if (found.usable) return { record: found.usable, how: 'hit' };
        return { record: await this.#fetch(key, image, flight, found.damaged), how: 'fetched' };
      });
    } finally {
      locked();
    }
  }

  async #fetch(
    key: string,
    image: ImageMeta,
    flight: Flight<ImageProgress>,
    damaged: BaseRecord | undefined,
  ): Promise<BaseRecord> {
    const { logger, lookup, telemetry } = this.#context;
    const begin = performance.now();
    logger.info('fetching an image', { imageId: image.id, source: describeSource(image.source) });
    await fetchBase(this.#context, key, image, flight, damaged);
    const record = await lookup.usable(key, image);
    if (!record) {
      throw new ComputeError('INTERNAL', `the base of image ${image.id} vanished when it was made`);
    }
    const milliseconds = Math.round(performance.now() - begin);
    const bytes = record.fileSizeBytes;
    logger.info('image is in the cache', { imageId: image.id, milliseconds, bytes });
    telemetry.fetched(record, milliseconds);
    if (damaged) {
      logger.info('a sound copy took the place of a damaged base', { imageId: image.id });
      telemetry.count('healed');
      telemetry.publish({ kind: 'healed', base: key, imageId: image.id });
    }
    return record;
  }

  /**
   * A base without a usable record was complete when it got its name: it is inspected again. A damaged one goes where
   * no instance stands on it; otherwise it can only be replaced by its own bytes, where they are known.
   */
  async #adopt(
    key: string,
    image: ImageMeta,
  ): Promise<{ readonly usable?: BaseRecord; readonly damaged?: BaseRecord }> {
    const { paths, logger, lookup } = this.#context;
    const path = paths.base(key);
    const standing = await lookup.find(key);
    if (!standing) return {};
    const { stat, record } = standing;
    if (!record || !isDamaged(standing)) {
      logger.info('inspecting a base again', { imageId: image.id, path });
      await adoptBase(this.#context, key, image, record);
      const usable = await lookup.usable(key, image);
      if (usable) return { usable };
      throw new ComputeError('INTERNAL', `the base ${path} changed while it was inspected`, {
        retryable: true,
      });
    }
    if ((await condemn(this.#context, key, { stat, record })) === 'quarantined') return {};
    if (record.content) return { damaged: record };
    throw new ComputeError(
      'IMAGE_UNACCEPTABLE',
      `the base ${path} is damaged, instances stand on it, and what it held is not known: terminate them first`,
      {
        details: {
          rule: 'base-damaged',
          path,
          sizeBytes: stat.sizeBytes,
          expectedBytes: record.fileSizeBytes,
        },
      },
    );
  }
}
