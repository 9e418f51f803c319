// Where reports go, each sink at its own pace: one that is slow or dead delays no other, and nothing else.
import { setTimeout as sleep } from 'node:timers/promises';
import { Deadline } from '../driver/deadline.js';
import type { LatestReport } from './latest-report.js';
import { type DeltaReport, type FullReport, reportDelta } from './report.js';

export interface ReportUpdate {
  readonly report: FullReport;
  /** Since the last one that this sink took; undefined for the first, and after a failure: set against the whole then. */
  readonly delta: DeltaReport | undefined;
}

export interface ReportSink {
  readonly name: string;
  /** Never called again before it has settled or its signal fired. Rejecting brings it the whole report later. */
  deliver(update: ReportUpdate, signal: AbortSignal): Promise<void> | void;
  /** Makes it ready, before the first report. A rejection fails the start of the reporter. */
  open?(): Promise<void>;
  close?(): Promise<void>;
}

export interface SinkStatus {
  readonly name: string;
  readonly delivered: number;
  readonly failed: number;
  /** Number of the last report that it took. */
  readonly sequence: number | undefined;
  /** Of its last delivery, where that failed. */
  readonly error: unknown;
}

export interface SinkLog {
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface SinkRunnerOptions {
  /** Milliseconds for one delivery. */
  readonly timeoutMs: number;
  /** Milliseconds after a first failure; doubled with each further one up to `maxBackoffMs`, half of it at random. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
  readonly log: SinkLog;
}

export class SinkRunner {
  readonly #sink: ReportSink;
  readonly #latest: LatestReport;
  readonly #options: SinkRunnerOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #delivered = 0;
  #failed = 0;
  #failuresInRow = 0;
  #last: FullReport | undefined;
  #error: unknown;

  constructor(sink: ReportSink, latest: LatestReport, options: SinkRunnerOptions) {
    this.#sink = sink;
    this.#latest = latest;
    this.#options = options;
    this.#running = this.#run();
  }

  get status(): SinkStatus {
    return {
      name: this.#sink.name,
      delivered: this.#delivered,
      failed: this.#failed,
      sequence: this.#last?.sequence,
      error: this.#error,
    };
  }

  /** A delivery under way is aborted. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#sink.close?.();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      const report = await this.#latest.newerThan(this.#last?.sequence ?? 0, signal);
      if (!report) return;
      try {
        const delta = this.#last && reportDelta(this.#last, report);
        await this.#deliver({ report, delta });
        this.#succeeded(report);
      } catch (error) {
        if (signal.aborted) return;
        this.#fail(error);
        await sleep(this.#backoffMs(), undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
  }

  /** A sink that does not hear its signal is left behind. */
  async #deliver(update: ReportUpdate): Promise<void> {
    const { timeoutMs } = this.#options;
    using deadline = new Deadline({
      operation: `a report to the sink ${this.#sink.name}`,
      signal: this.#stop.signal,
      timeoutMs,
    });
    await deadline.race((async () => await this.#sink.deliver(update, deadline.signal))());
  }

  #succeeded(report: FullReport): void {
    if (this.#failuresInRow > 0) this.#options.log.info(`sink ${this.#sink.name} takes reports again`);
    this.#last = report;
    this.#delivered += 1;
    this.#failuresInRow = 0;
    this.#error = undefined;
  }

  #fail(error: unknown): void {
    this.#last = undefined;
    this.#failed += 1;
    this.#failuresInRow += 1;
    this.#error = error;
    // Once for a row of failures: a dead sink must not fill the log.
    if (this.#failuresInRow > 1) return;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log.warn(`sink ${this.#sink.name} failed and is tried again: ${reason}`, { error: reason });
  }

  #backoffMs(): number {
    const { backoffMs, maxBackoffMs } = this.#options;
    const ms = Math.min(maxBackoffMs, backoffMs * 2 ** Math.min(20, this.#failuresInRow - 1));
    return ms * (0.5 + Math.random() / 2);
  }
}
