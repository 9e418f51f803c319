// What the cache counts and tells.
import { Broadcast } from '../../driver/broadcast.js';
import { ComputeError } from '../../driver/errors.js';
import { type ImageCacheEvent, type ImageCacheMetrics, NO_METRICS } from '../../driver/image-cache.js';
import type { BaseRecord } from '../base-record.js';

type Counter = Exclude<keyof ImageCacheMetrics, 'accepted' | 'refused' | 'fetching' | 'waiting'>;

export type { ImageCacheEvent, ImageCacheMetrics };

/** An event, or how many of them a slow reader missed. */
export type ImageCacheNews = ImageCacheEvent | { readonly kind: 'gap'; readonly count: number };

export class Telemetry {
  readonly #counters: Record<Counter, number> = { ...NO_METRICS };
  readonly #accepted: Record<string, number> = {};
  readonly #refused: Record<string, number> = {};
  readonly #broadcast = new Broadcast<ImageCacheNews>({ makeGap: (count) => ({ kind: 'gap', count }) });
  #fetching = 0;
  #waiting = 0;

  count(counter: Counter, amount = 1): void {
    this.#counters[counter] += amount;
  }

  publish(event: ImageCacheEvent): void {
    this.#broadcast.publish(event);
  }

  /** Gives what to call when the flight has ended. */
  takesOff(): () => void {
    this.#fetching += 1;
    return () => {
      this.#fetching -= 1;
    };
  }

  /** Gives what to call when the wait has ended; once more does nothing. */
  waits(): () => void {
    const begin = performance.now();
    let waiting = true;
    this.#waiting += 1;
    return () => {
      if (!waiting) return;
      waiting = false;
      this.#waiting -= 1;
      this.count('waitSeconds', (performance.now() - begin) / 1000);
    };
  }

  fetched(
    { imageId, diskFormat, sourceSizeBytes, virtualSizeBytes }: BaseRecord,
    milliseconds: number,
  ): void {
    const bytes = sourceSizeBytes ?? virtualSizeBytes;
    this.#accepted[diskFormat] = (this.#accepted[diskFormat] ?? 0) + 1;
    this.count('fetchedBytes', bytes);
    this.count('fetchSeconds', milliseconds / 1000);
    this.publish({ kind: 'fetched', imageId, bytes, virtualSizeBytes, milliseconds });
  }

  failed(imageId: string, error: unknown, milliseconds: number): void {
    const code = ComputeError.is(error) ? error.code : 'INTERNAL';
    const given = ComputeError.is(error) && code === 'IMAGE_UNACCEPTABLE' ? error.details['rule'] : undefined;
    const rule = typeof given === 'string' ? given : undefined;
    if (rule !== undefined) this.#refused[rule] = (this.#refused[rule] ?? 0) + 1;
    this.count('failures');
    this.publish({ kind: 'fetch-failed', imageId, code, ...(rule !== undefined && { rule }), milliseconds });
  }

  metrics(): ImageCacheMetrics {
    return {
      ...this.#counters,
      accepted: { ...this.#accepted },
      refused: { ...this.#refused },
      fetching: this.#fetching,
      waiting: this.#waiting,
    };
  }

  subscribe(options: { readonly signal?: AbortSignal | undefined }): AsyncIterableIterator<ImageCacheNews> {
    return this.#broadcast.subscribe(options);
  }

  close(): void {
    this.#broadcast.close();
  }
}
