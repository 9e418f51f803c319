// The service of a node as a scheduler sees it: up or down, enabled or not, and why. It turns itself off, and on again.
import type { ErrorCode } from '../driver/errors.js';
import type { DriverEvent } from '../driver/model.js';

export type DisabledBy = 'operator' | 'connection' | 'build-failures';

export interface ServiceStatus {
  /** `down`: the hypervisor is not to be reached. */
  readonly state: 'up' | 'down';
  readonly enabled: boolean;
  /** Who disabled it; an operator's word stands before the service's own. */
  readonly disabledBy: DisabledBy | undefined;
  readonly disabledReason: string | undefined;
  /** When the hypervisor answered last; milliseconds since 1970. */
  readonly lastSeenMs: number;
  readonly startedMs: number;
  /** Of this package. */
  readonly version: string;
  /** Launches that failed one after another through the host's own fault. */
  readonly consecutiveBuildFailures: number;
}

export interface ComputeServiceOptions {
  readonly version: string;
  /** So many failures one after another turn it off; 0: never. Default 10, Nova's consecutive_build_service_disable_threshold. */
  readonly buildFailureThreshold?: number | undefined;
  /** Milliseconds until it offers itself again; the next failure then turns it off anew. Default 600000 (ten minutes). */
  readonly buildFailureHoldMs?: number | undefined;
}

/** Failures that say something of this host. What the caller asked, or an image is, would fail elsewhere, too. */
const HOST_FAULTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NO_SPACE',
  'NETWORK_FAILED',
  'START_FAILED',
  'HOST_UNSUITABLE',
  'HYPERVISOR',
  'SYSTEM',
  'INTERNAL',
  'TIMEOUT',
]);

/** Tells, does not act: a disabled service launches what it is asked to, as Nova's does; schedulers ask others. */
export class ComputeService {
  readonly #version: string;
  readonly #threshold: number;
  readonly #holdMs: number;
  readonly #startedMs = Date.now();
  readonly #listeners = new Set<() => void>();
  #operatorReason: string | undefined;
  #lost: string | undefined;
  #lastSeenMs = Date.now();
  #failures = 0;
  #tripped = false;
  #hold: NodeJS.Timeout | undefined;

  constructor(options: ComputeServiceOptions) {
    this.#version = options.version;
    this.#threshold = options.buildFailureThreshold ?? 10;
    this.#holdMs = options.buildFailureHoldMs ?? 600_000;
  }

  status(): ServiceStatus {
    const disabled = this.#disabled();
    return {
      state: this.#lost === undefined ? 'up' : 'down',
      enabled: disabled === undefined,
      disabledBy: disabled?.by,
      disabledReason: disabled?.reason,
      lastSeenMs: this.#lastSeenMs,
      startedMs: this.#startedMs,
      version: this.#version,
      consecutiveBuildFailures: this.#failures,
    };
  }

  /** Calls the listener after every change. Returns how to stop. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** By an operator: until {@link enable}. */
  disable(reason: string): void {
    this.#operatorReason = reason;
    this.#changed();
  }

  /** Forgets the failed launches, too. A hypervisor that is lost stays so. */
  enable(): void {
    this.#operatorReason = undefined;
    this.#close();
    this.#changed();
  }

  /** The hypervisor has answered. */
  seen(): void {
    this.#lastSeenMs = Date.now();
    this.#connection(undefined);
  }

  /** Takes the driver's word on its connection until the events end. */
  async follow(events: AsyncIterable<DriverEvent>): Promise<void> {
    for await (const event of events) {
      if (event.type !== 'connection') continue;
      if (event.state === 'up') this.seen();
      else this.#connection(event.detail);
    }
  }

  buildSucceeded(): void {
    if (this.#failures === 0) return;
    this.#close();
    this.#changed();
  }

  /** Failures that are not the host's own do not count. */
  buildFailed(code: ErrorCode): void {
    if (!HOST_FAULTS.has(code)) return;
    this.#failures += 1;
    if (this.#threshold > 0 && this.#failures >= this.#threshold) this.#trip();
    this.#changed();
  }

  /** Ends its timer. */
  close(): void {
    clearTimeout(this.#hold);
  }

  #disabled(): { readonly by: DisabledBy; readonly reason: string } | undefined {
    if (this.#operatorReason !== undefined) return { by: 'operator', reason: this.#operatorReason };
    if (this.#lost !== undefined) return { by: 'connection', reason: `connection lost: ${this.#lost}` };
    if (!this.#tripped) return undefined;
    return { by: 'build-failures', reason: `${this.#failures} launches failed one after another` };
  }

  #connection(lost: string | undefined): void {
    if ((this.#lost === undefined) === (lost === undefined)) return;
    this.#lost = lost;
    this.#changed();
  }

  #trip(): void {
    this.#tripped = true;
    clearTimeout(this.#hold);
    this.#hold = setTimeout(() => {
      this.#tripped = false;
      this.#changed();
    }, this.#holdMs);
    this.#hold.unref();
  }

  #close(): void {
    clearTimeout(this.#hold);
    this.#failures = 0;
    this.#tripped = false;
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
