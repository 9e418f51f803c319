// Work that a node repeats by itself: never beside itself, never all nodes at the same moment.

import { reasonOf } from './node-errors.js';
import type { Logger } from './types.js';

/** Of the interval, to either side: hosts that were started together drift apart. */
const JITTER = 0.1;

export interface PeriodicOptions {
  readonly name: string;
  /** Milliseconds from the end of one run to the start of the next; 0: never. */
  readonly intervalMs: number;
  readonly log: Logger;
  /** What it rejects with is logged; the next run comes all the same. */
  readonly work: (signal: AbortSignal) => Promise<void>;
}

export class Periodic {
  readonly #options: PeriodicOptions;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  /** The first run comes after one interval. Does not keep the process alive. */
  constructor(options: PeriodicOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Aborts the run under way, and resolves when it has ended. Idempotent. */
  async stop(): Promise<void> {
    this.#controller.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    const { intervalMs } = this.#options;
    if (intervalMs === 0 || this.#controller.signal.aborted) return;
    const jitter = 1 + JITTER * (2 * Math.random() - 1);
    this.#timer = setTimeout(() => {
      this.#running = this.#run();
    }, intervalMs * jitter);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    const { name, log, work } = this.#options;
    const { signal } = this.#controller;
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted) log.warn(`${name} failed: ${reasonOf(error)}`);
    }
    this.#running = undefined;
    this.#schedule();
  }
}
