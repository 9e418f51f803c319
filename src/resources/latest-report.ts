// The newest report, for readers of any speed: who comes late skips what was between, and holds nobody up.
import type { FullReport } from './report.js';

export class LatestReport {
  readonly #waiting = new Set<() => void>();
  #report: FullReport | undefined;
  #closed = false;

  get current(): FullReport | undefined {
    return this.#report;
  }

  publish(report: FullReport): void {
    this.#report = report;
    this.#wake();
  }

  /** The newest once its number is above `after`; undefined after {@link close} or once the signal fires. */
  async newerThan(after: number, signal: AbortSignal): Promise<FullReport | undefined> {
    while (!this.#closed && !signal.aborted) {
      if (this.#report && this.#report.sequence > after) return this.#report;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          signal.removeEventListener('abort', wake);
          this.#waiting.delete(wake);
          resolve();
        };
        signal.addEventListener('abort', wake, { once: true });
        this.#waiting.add(wake);
      });
    }
    return undefined;
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
