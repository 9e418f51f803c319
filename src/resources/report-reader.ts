// The reports of a node as an async iterable: one whole, then what changed since the last one read.
import type { LatestReport } from './latest-report.js';
import { type FullReport, type ResourceReport, reportDelta } from './report.js';

export interface ReadReportsOptions {
  readonly signal?: AbortSignal | undefined;
  /** Every report whole. Default false: the first whole, then deltas. */
  readonly whole?: boolean | undefined;
}

/** A reader that is slow reads fewer, larger deltas: nothing is buffered for it, and nothing is lost to it. */
export class ReportReader implements AsyncIterableIterator<ResourceReport> {
  readonly #latest: LatestReport;
  readonly #whole: boolean;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  #last: FullReport | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(latest: LatestReport, { signal, whole = false }: ReadReportsOptions = {}) {
    this.#latest = latest;
    this.#whole = whole;
    this.#signal = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ResourceReport> {
    return this;
  }

  next(): Promise<IteratorResult<ResourceReport>> {
    const read = this.#turn.then(() => this.#read());
    this.#turn = read;
    return read;
  }

  return(): Promise<IteratorResult<ResourceReport>> {
    this.#stop.abort();
    return Promise.resolve({ done: true, value: undefined });
  }

  async #read(): Promise<IteratorResult<ResourceReport>> {
    const last = this.#last;
    const report = await this.#latest.newerThan(last?.sequence ?? 0, this.#signal);
    if (!report) return { done: true, value: undefined };
    this.#last = report;
    return { done: false, value: last && !this.#whole ? reportDelta(last, report) : report };
  }
}
