// One call's end: the caller's signal, its deadline and a cancel from inside, as one AbortSignal with a ComputeError as reason.
import { ComputeError, type ErrorCode } from './errors.js';

export interface DeadlineOptions {
  readonly operation: string;
  readonly instanceUuid?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Undefined and Infinity: none. */
  readonly timeoutMs?: number | undefined;
}

/** setTimeout fires at once for anything longer. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Dispose of it when the call ends: it then forgets the caller's signal and its timer. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #subject: string;
  readonly #context: { readonly operation: string; readonly instanceUuid: string | undefined };
  #timer: NodeJS.Timeout | undefined;
  #unwatch: (() => void) | undefined;

  constructor(options: DeadlineOptions) {
    const { signal, timeoutMs } = options;
    this.#context = { operation: options.operation, instanceUuid: options.instanceUuid };
    this.#subject = options.instanceUuid
      ? `${options.operation} of instance ${options.instanceUuid}`
      : options.operation;
    if (timeoutMs !== undefined && !(timeoutMs >= 0)) {
      throw new ComputeError(
        'INVALID_ARGUMENT',
        `timeoutMs must be 0 or more, not ${timeoutMs}`,
        this.#context,
      );
    }
    if (signal) {
      const onAbort = (): void => this.end('ABORTED', 'was aborted', signal.reason);
      if (signal.aborted) onAbort();
      else {
        signal.addEventListener('abort', onAbort, { once: true });
        this.#unwatch = () => signal.removeEventListener('abort', onAbort);
      }
    }
    if (timeoutMs !== undefined && timeoutMs <= LONGEST_TIMER_MS) this.#arm(timeoutMs);
  }

  #arm(timeoutMs: number): void {
    this.#timer = setTimeout(() => {
      this.cancel(
        new ComputeError('TIMEOUT', `${this.#subject} did not finish within ${timeoutMs} ms`, {
          ...this.#context,
          retryable: true,
          details: { timeoutMs },
        }),
      );
    }, timeoutMs);
    this.#timer.unref();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why it is over; undefined while it is not. */
  get error(): ComputeError | undefined {
    return this.#controller.signal.aborted ? (this.#controller.signal.reason as ComputeError) : undefined;
  }

  /** Ends the call from inside, e.g. because its instance is being terminated. The first reason stays. */
  cancel(reason: ComputeError): void {
    if (!this.#controller.signal.aborted) this.#controller.abort(reason);
  }

  /** {@link cancel} with an error about this call: `why` ends the sentence that begins with it. */
  end(code: ErrorCode, why: string, cause?: unknown): void {
    this.cancel(new ComputeError(code, `${this.#subject} ${why}`, { ...this.#context, cause }));
  }

  check(): void {
    if (this.error) throw this.error;
  }

  /** The work's result, or the reason of the end, whichever is first. What the work still does is dropped. */
  async race<T>(work: Promise<T>): Promise<T> {
    if (this.error) {
      void work.catch(() => undefined);
      throw this.error;
    }
    const { signal } = this.#controller;
    let onAbort = (): void => undefined;
    const ended = new Promise<never>((_resolve, reject) => {
      onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([work, ended]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** The reason of the end in place of the `ABORTED` that a call given {@link signal} answered with. */
  explain(error: unknown): unknown {
    return this.error && ComputeError.is(error) && error.code === 'ABORTED' ? this.error : error;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#unwatch?.();
  }
}
