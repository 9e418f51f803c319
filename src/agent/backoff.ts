// Pauses between tries, doubled each time and drawn from the whole range: a fleet does not come back in one instant.

export interface BackoffOptions {
  /** Longest first pause. Default 500. */
  readonly firstMs?: number;
  /** Longest pause at all. Default 30000. */
  readonly mostMs?: number;
}

export class Backoff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  #tries = 0;

  constructor({ firstMs = 500, mostMs = 30_000 }: BackoffOptions = {}) {
    this.#firstMs = firstMs;
    this.#mostMs = mostMs;
  }

  /** After success in between. */
  reset(): void {
    this.#tries = 0;
  }

  nextMs(): number {
    const range = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(this.#tries++, 30));
    return Math.random() * range;
  }

  /** Rejects with the signal's reason. It keeps the process alive, as the connection does that is waited for. */
  async pause(signal: AbortSignal): Promise<void> {
    await pause(this.nextMs(), signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
