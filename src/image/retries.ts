// Pauses between the tries of what may pass by itself.
import { ComputeError } from '../driver/errors.js';
import { isPassing } from './http-client.js';
import type { HttpSourceOptions, ImageLogger } from './types.js';

const PAUSES_MS: readonly number[] = [250, 1000, 4000];

export interface RetriesOptions {
  readonly imageId: string;
  readonly signal: AbortSignal;
  readonly logger: ImageLogger;
}

export class Retries {
  readonly #options: RetriesOptions;
  readonly #pausesMs: readonly number[];
  #used = 0;

  constructor(http: HttpSourceOptions, options: RetriesOptions) {
    this.#options = options;
    this.#pausesMs = http.retryPausesMs ?? PAUSES_MS;
  }

  /** Resolves when it is time for the next try; throws the error where that would not help, or was one too many. */
  async next(error: unknown): Promise<void> {
    const { imageId, signal, logger } = this.#options;
    const pauseMs = isPassing(error) ? this.#pausesMs[this.#used++] : undefined;
    if (pauseMs === undefined || signal.aborted) throw error;
    logger.warn('an image server failed, trying again', {
      imageId,
      pauseMs,
      error: (error as ComputeError).message,
    });
    await pause(pauseMs, signal);
  }

  /** After success in between. */
  reset(): void {
    this.#used = 0;
  }
}

/** Rejects with `ABORTED`. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(new ComputeError('ABORTED', 'the fetch of an image was aborted', { operation: 'image cache' }));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, milliseconds);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
