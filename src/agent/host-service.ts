// The host's Service record at the conductor: it says that the host lives, and whether it may be given servers.
import type { ServiceStatus } from '../resources/compute-service.js';
import type { Conductor } from './conductor.js';
import { reasonOf } from './instance-record.js';
import type { NovaObject } from './nova-object.js';
import { persist } from './persist.js';
import type { NovaRelease } from './releases/release.js';

const BINARY = 'nova-compute';
/** Nova's mark of what the host has disabled itself, and may enable again. */
const AUTO = 'AUTO: ';

export interface HostServiceOptions {
  readonly conductor: Conductor;
  readonly release: NovaRelease;
  readonly host: string;
  readonly intervalMs: number;
  readonly status: () => ServiceStatus;
  readonly log: { warn(message: string): void };
  readonly signal: AbortSignal;
}

export class HostService {
  readonly #options: HostServiceOptions;
  readonly #record: NovaObject;
  readonly #timer: NodeJS.Timeout;
  #saving: Promise<void> | undefined;
  #isFailing = false;
  #lastSavedMs = Date.now();

  /** Waits for a conductor. */
  static async register(options: HostServiceOptions): Promise<HostService> {
    const { conductor, release, host, signal } = options;
    const record = await persist(signal, async () => {
      const found = await conductor.findService(host, BINARY, { signal });
      if (found) return found;
      const created = conductor.newObject('Service', {
        host,
        binary: BINARY,
        topic: 'compute',
        report_count: 0,
        version: release.serviceVersion,
      });
      await conductor.create(created, { signal });
      return created;
    });
    return new HostService(options, record);
  }

  private constructor(options: HostServiceOptions, record: NovaObject) {
    this.#options = options;
    this.#record = record;
    if (record.get('version') !== options.release.serviceVersion) {
      record.set('version', options.release.serviceVersion);
    }
    this.#timer = setInterval(() => this.#beat(), options.intervalMs);
    this.#timer.unref();
    this.#beat();
  }

  /** When the conductor took the last report; milliseconds since 1970. */
  get lastSavedMs(): number {
    return this.#lastSavedMs;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#saving;
  }

  /** One at a time: where the conductor is slow a beat is left out. */
  #beat(): void {
    this.#saving ??= this.#save()
      .then(
        () => {
          this.#isFailing = false;
          this.#lastSavedMs = Date.now();
        },
        (error: unknown) => {
          if (!this.#isFailing) this.#options.log.warn(`the service is not reported: ${reasonOf(error)}`);
          this.#isFailing = true;
        },
      )
      .finally(() => {
        this.#saving = undefined;
      });
  }

  async #save(): Promise<void> {
    const { conductor, signal } = this.#options;
    const record = this.#record;
    await this.#tellAvailability();
    record.set('report_count', Number(record.get('report_count') ?? 0) + 1);
    await conductor.save(record, { signal });
  }

  /** An operator's word stands: what the host disables itself has a mark, and only that does it take back. */
  async #tellAvailability(): Promise<void> {
    const { conductor, signal, status } = this.#options;
    const record = this.#record;
    const { enabled, disabledBy, disabledReason } = status();
    const own = enabled || disabledBy === 'operator' ? undefined : `${AUTO}${disabledReason}`.slice(0, 255);
    if (own === undefined && !String(record.get('disabled_reason')).startsWith(AUTO)) return;
    const stored = await conductor.findService(this.#options.host, BINARY, { signal });
    if (!stored) return;
    const isOurs = String(stored.get('disabled_reason')).startsWith(AUTO);
    if (stored.get('disabled') === true && !isOurs) return;
    if ((stored.get('disabled_reason') ?? undefined) === own) return;
    record.set('disabled', own !== undefined);
    record.set('disabled_reason', own ?? null);
  }
}
