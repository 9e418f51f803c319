// ResourceReporter: the state of a node, sampled periodically and told on every change, to readers and sinks.
import { ComputeError } from '../driver/errors.js';
import type { UsageGroup } from '../driver/usage.js';
import { HostSampler } from './host-sampler.js';
import { LatestReport } from './latest-report.js';
import { nodeReport } from './node-report.js';
import { powerStateAfter } from './power-events.js';
import { type FullReport, type InstanceReport, type ResourceReport, sameFields, sameNode } from './report.js';
import { type ReadReportsOptions, ReportReader } from './report-reader.js';
import type { ReportedEvent, ReportSource } from './report-source.js';
import { type ReportSink, SinkRunner, type SinkStatus } from './sink.js';

/** Of the interval, to either side: hosts that were started together drift apart. */
const JITTER = 0.1;

export interface ReporterOptions {
  /** Milliseconds between two samples of the host, give or take a tenth. Default 10000, Nova's report_interval: schedulers take one that is silent for a minute as down. */
  readonly intervalMs?: number | undefined;
  /**
   * At most one report on change in so many milliseconds, fewer where making it takes long; the first of a row goes out at
   * once. Default 2.
   */
  readonly coalesceMs?: number | undefined;
  /** Figures of the instances beside their state. Default CPU and memory. Where the driver has the capability `usage`. */
  readonly usageGroups?: readonly UsageGroup[] | undefined;
  readonly sinks?: readonly ReportSink[] | undefined;
  /** Milliseconds that a sink may take for one report. Default 30000. */
  readonly sinkTimeoutMs?: number | undefined;
  /** Milliseconds after a sink's first failure, doubled with each further one up to a minute. Default 1000. */
  readonly sinkBackoffMs?: number | undefined;
}

/** How many times as long as a report took to make the next one waits. */
const REST = 9;
const MOST_BACKOFF_MS = 60_000;
/** The longest that a timer can be. */
const MOST_MS = 1_900_000_000;

/**
 * Two ways lead to a report. Periodically the host is sampled: one question to the hypervisor for all instances. On a
 * change (an event, a claim, the service) the report is made of what is in memory, without a question to anybody.
 */
export class ResourceReporter implements AsyncDisposable {
  readonly #source: ReportSource;
  readonly #intervalMs: number;
  readonly #coalesceMs: number;
  readonly #sampler: HostSampler;
  readonly #latest = new LatestReport();
  readonly #stop = new AbortController();
  readonly #unlisten: (() => void)[] = [];
  readonly #known = new Map<string, InstanceReport>();
  #sinks: SinkRunner[] = [];
  #following: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  /** Takes back a report that is to be made soon. */
  #cancel: (() => void) | undefined;
  /** When the next report on change may be made, by performance.now(). */
  #nextMs = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;

  private constructor(source: ReportSource, options: ReporterOptions) {
    this.#source = source;
    this.#intervalMs = limited('intervalMs', options.intervalMs ?? 10_000, 10);
    this.#coalesceMs = limited('coalesceMs', options.coalesceMs ?? 2, 0);
    limited('sinkTimeoutMs', options.sinkTimeoutMs ?? 30_000, 1);
    limited('sinkBackoffMs', options.sinkBackoffMs ?? 1000, 1);
    this.#sampler = new HostSampler(source, options.usageGroups);
  }

  /**
   * Resolves with the first report out. Rejects with what the driver says where it cannot be sampled, with what a sink's
   * `open` says, and with `INVALID_ARGUMENT`. Later failures are logged, and told by the report's service.
   */
  static async open(source: ReportSource, options: ReporterOptions = {}): Promise<ResourceReporter> {
    const reporter = new ResourceReporter(source, options);
    try {
      await reporter.#open(options);
      return reporter;
    } catch (error) {
      await reporter.close();
      throw error;
    }
  }

  /** The newest report. */
  get report(): FullReport {
    return this.#latest.current as FullReport;
  }

  /** How the sinks do, in their order. */
  get sinks(): readonly SinkStatus[] {
    return this.#sinks.map(({ status }) => status);
  }

  /**
   * The newest whole report at once, then deltas as things change. Ends with {@link close}, when the reader returns, or
   * when `signal` fires. A reader that is slow reads fewer, larger deltas.
   */
  reports(options: ReadReportsOptions = {}): AsyncIterableIterator<ResourceReport> {
    return new ReportReader(this.#latest, options);
  }

  /** Samples the host now, beside the interval. Rejects with what the driver says. */
  async refresh(options: { readonly signal?: AbortSignal } = {}): Promise<FullReport> {
    const signal = options.signal ? AbortSignal.any([options.signal, this.#stop.signal]) : this.#stop.signal;
    await this.#sample(signal);
    return this.report;
  }

  /** Deliveries under way are aborted, sinks and readers end. Idempotent. */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open({ sinks = [], sinkTimeoutMs = 30_000, sinkBackoffMs = 1000 }: ReporterOptions): Promise<void> {
    const { tracker, service, log } = this.#source;
    // Before the first sample: what changes meanwhile is in the report that follows.
    this.#following = this.#follow();
    this.#unlisten.push(
      tracker.listen(() => this.#changed()),
      service.listen(() => this.#changed()),
    );
    await this.#sample(this.#stop.signal);
    const rules = {
      timeoutMs: sinkTimeoutMs,
      backoffMs: sinkBackoffMs,
      maxBackoffMs: Math.max(sinkBackoffMs, MOST_BACKOFF_MS),
      log,
    };
    for (const sink of sinks) {
      await sink.open?.();
      this.#sinks = [...this.#sinks, new SinkRunner(sink, this.#latest, rules)];
    }
    this.#arm();
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#cancelSoon();
    for (const unlisten of this.#unlisten) unlisten();
    this.#stop.abort();
    await this.#following;
    this.#latest.close();
    const closed = await Promise.allSettled(this.#sinks.map((sink) => sink.close()));
    for (const result of closed) {
      if (result.status === 'rejected') this.#warn('closing a sink failed', result.reason);
    }
  }

  async #sample(signal: AbortSignal): Promise<void> {
    await this.#sampler.sample(signal);
    this.#publish();
  }

  #arm(): void {
    if (this.#stop.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => void this.#tick(),
      this.#intervalMs * (1 + JITTER * (2 * Math.random() - 1)),
    );
    this.#timer.unref();
  }

  /** The next comes one interval after the end of this: a slow hypervisor is not asked twice at the same time. */
  async #tick(): Promise<void> {
    try {
      await this.#sample(this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#warn('the host cannot be sampled', error);
    }
    this.#arm();
  }

  async #follow(): Promise<void> {
    try {
      for await (const event of this.#source.events({ signal: this.#stop.signal })) this.#take(event);
    } catch (error) {
      this.#warn('the events of the node ended with an error', error);
    }
  }

  #take(event: ReportedEvent): void {
    if (event.type === 'image-cache' || event.type === 'block-job') return;
    // What was missed is not known: ask.
    if (event.type === 'gap' || (event.type === 'connection' && event.state === 'up')) void this.#tick();
    if (event.type === 'lifecycle') this.#sampler.note(event.uuid, powerStateAfter(event));
    this.#changed();
  }

  /** The first change of a row is told in this turn of the event loop, what follows it together. */
  #changed(): void {
    if (this.#cancel !== undefined || this.#latest.current === undefined || this.#stop.signal.aborted) return;
    const waitMs = this.#nextMs - performance.now();
    const tell = (): void => {
      this.#cancel = undefined;
      this.#publish();
    };
    // Each by its own: clearImmediate() of a timeout (Node.js 20) loses immediates of the whole process.
    if (waitMs <= 0) {
      const soon = setImmediate(tell).unref();
      this.#cancel = () => clearImmediate(soon);
    } else {
      const soon = setTimeout(tell, waitMs).unref();
      this.#cancel = () => clearTimeout(soon);
    }
  }

  #cancelSoon(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Only what differs is a report. */
  #publish(): void {
    const { nodeUuid, service, tracker } = this.#source;
    const { resource, inventory } = this.#sampler;
    if (!resource) return;
    this.#cancelSoon();
    const beginMs = performance.now();
    const before = this.#latest.current;
    const instances = this.#instances();
    const running = instances.filter(({ powerState }) => powerState === 'running' || powerState === 'paused');
    const counted = { ...resource, runningInstances: running.length };
    const node = nodeReport(counted, tracker, instances.length);
    const status = service.status();
    if (
      before &&
      sameFields(before.service, status) &&
      sameNode(before.node, node) &&
      before.inventory === inventory &&
      before.instances.length === instances.length &&
      instances.every((instance, index) => instance === before.instances[index])
    ) {
      return;
    }
    // However many instances there are and however fast they change: a tenth of the time at most.
    const endMs = performance.now();
    this.#nextMs = endMs + Math.max(this.#coalesceMs, REST * (endMs - beginMs));
    this.#latest.publish({
      type: 'full',
      sequence: (before?.sequence ?? 0) + 1,
      timestampMs: Date.now(),
      nodeUuid,
      service: status,
      node,
      inventory,
      instances,
    });
  }

  /** One that has not changed is the same object as before, which makes comparing cheap. */
  #instances(): InstanceReport[] {
    const { tracker } = this.#source;
    const reports: InstanceReport[] = [];
    const gone = new Set(this.#known.keys());
    for (const instance of this.#source.instances()) {
      const { uuid } = instance;
      const { vcpus = 0, memoryMb = 0, diskGb = 0 } = tracker.amounts(uuid) ?? {};
      const claimed = { vcpus, pcpus: tracker.dedicated(uuid), memoryMb, diskGb };
      const made: InstanceReport = { ...instance, ...claimed, ...this.#sampler.of(uuid) };
      const known = this.#known.get(uuid);
      const report = known && sameFields(known, made) ? known : made;
      this.#known.set(uuid, report);
      gone.delete(uuid);
      reports.push(report);
    }
    for (const uuid of gone) this.#known.delete(uuid);
    return reports;
  }

  #warn(message: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#source.log.warn(`${message}: ${reason}`, { error: reason });
  }
}

function limited(name: string, value: number, least: number): number {
  if (Number.isFinite(value) && value >= least && value <= MOST_MS) return value;
  throw new ComputeError('INVALID_ARGUMENT', `${name} must be from ${least} to ${MOST_MS}, not ${value}`, {
    operation: 'reporter',
  });
}
