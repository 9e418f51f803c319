// Work of the cache that nobody waits for: its failures are logged, and it ends with the cache.
import { once } from 'node:events';
import { ComputeError } from '../../driver/errors.js';
import type { ImageLogger } from '../types.js';

export class Background {
  readonly #logger: ImageLogger;
  readonly #controller = new AbortController();
  readonly #running = new Map<string, Promise<void>>();

  constructor(logger: ImageLogger) {
    this.#logger = logger;
  }

  /** Does nothing where work of that name is under way, or after {@link close}. */
  run(name: string, work: (signal: AbortSignal) => Promise<void>): void {
    const { signal } = this.#controller;
    if (signal.aborted || this.#running.has(name)) return;
    const running = work(signal)
      .catch((error: unknown) => {
        if (signal.aborted && ComputeError.is(error) && error.code === 'ABORTED') return;
        this.#logger.warn(`image cache: ${name} failed`, { error: String(error) });
      })
      .finally(() => this.#running.delete(name));
    this.#running.set(name, running);
  }

  /** Resolves when work of that name, if there is some, has ended, or when `signal` fires. */
  async settled(name: string, signal: AbortSignal | undefined): Promise<void> {
    const running = this.#running.get(name);
    if (!signal || !running) {
      await running;
      return;
    }
    const left = new AbortController();
    await Promise.race([running, once(signal, 'abort', { signal: left.signal })]);
    left.abort();
  }

  /** Aborts what runs and waits for its end. Idempotent. */
  async close(): Promise<void> {
    this.#controller.abort();
    await Promise.all(this.#running.values());
  }
}
