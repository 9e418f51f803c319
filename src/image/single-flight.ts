// One run of a piece of work for all who want its result; it is aborted when the last of them has gone.
import { ComputeError } from '../driver/errors.js';

export interface Waiter<Progress> {
  readonly operation: string;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly onProgress: (progress: Progress) => void;
  /** The largest of all waiters' limits counts; Infinity where this one has none. */
  readonly limit: number;
}

/** What the work sees of those who wait for it. */
export class Flight<Progress> {
  readonly #waiters = new Set<Waiter<Progress>>();
  readonly #controller = new AbortController();
  readonly #watch: (progress: Progress) => void;
  #last: Progress | undefined;

  /** @param watch Told all that the waiters are told, however many there are. */
  constructor(watch: (progress: Progress) => void = () => undefined) {
    this.#watch = watch;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get limit(): number {
    return Math.max(...[...this.#waiters].map((waiter) => waiter.limit));
  }

  report(progress: Progress): void {
    this.#last = progress;
    this.#watch(progress);
    for (const waiter of this.#waiters) waiter.onProgress(progress);
  }

  add(waiter: Waiter<Progress>): void {
    this.#waiters.add(waiter);
    if (this.#last !== undefined) waiter.onProgress(this.#last);
  }

  /** True when it was the last one: the work is then told to stop. */
  remove(waiter: Waiter<Progress>): boolean {
    this.#waiters.delete(waiter);
    if (this.#waiters.size > 0) return false;
    this.#controller.abort();
    return true;
  }
}

export class SingleFlight<Result, Progress> {
  readonly #flights = new Map<
    string,
    { readonly flight: Flight<Progress>; readonly result: Promise<Result> }
  >();
  readonly #watch: (key: string, progress: Progress) => void;

  /** @param watch Told the progress of each flight, once. */
  constructor(watch: (key: string, progress: Progress) => void = () => undefined) {
    this.#watch = watch;
  }

  /** Flights under way. */
  get size(): number {
    return this.#flights.size;
  }

  /**
   * Joins the flight of that key or starts one. A waiter whose signal fires or whose time is over rejects; the last one
   * does so only when the work has ended and undone what it did.
   */
  async run(
    key: string,
    waiter: Waiter<Progress>,
    work: (flight: Flight<Progress>) => Promise<Result>,
  ): Promise<{ readonly result: Result; readonly joined: boolean }> {
    if (waiter.signal?.aborted) throw abortedError(waiter);
    const there = this.#flights.get(key);
    const entry = there ?? this.#start(key, waiter, work);
    if (there) there.flight.add(waiter);
    return { result: await this.#wait(key, waiter, entry), joined: there !== undefined };
  }

  #start(
    key: string,
    waiter: Waiter<Progress>,
    work: (flight: Flight<Progress>) => Promise<Result>,
  ): { readonly flight: Flight<Progress>; readonly result: Promise<Result> } {
    const flight = new Flight<Progress>((progress) => this.#watch(key, progress));
    flight.add(waiter);
    const result = work(flight).finally(() => this.#forget(key, flight));
    // Each waiter handles the rejection; there may be none left.
    result.catch(() => undefined);
    const entry = { flight, result };
    this.#flights.set(key, entry);
    return entry;
  }

  /** Whoever comes later starts anew: what fails or is aborted is not joined. */
  #forget(key: string, flight: Flight<Progress>): void {
    if (this.#flights.get(key)?.flight === flight) this.#flights.delete(key);
  }

  async #wait(
    key: string,
    waiter: Waiter<Progress>,
    entry: { readonly flight: Flight<Progress>; readonly result: Promise<Result> },
  ): Promise<Result> {
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    const left = new Promise<ComputeError>((resolve) => {
      onAbort = () => resolve(abortedError(waiter));
      waiter.signal?.addEventListener('abort', onAbort, { once: true });
      if (waiter.timeoutMs !== Number.POSITIVE_INFINITY) {
        timer = setTimeout(() => resolve(timeoutError(waiter)), waiter.timeoutMs);
      }
    });
    try {
      const first = await Promise.race([entry.result.then((value) => ({ value })), left]);
      if ('value' in first) return first.value;
      if (entry.flight.remove(waiter)) {
        this.#forget(key, entry.flight);
        await entry.result.catch(() => undefined);
      }
      throw first;
    } finally {
      clearTimeout(timer);
      if (onAbort) waiter.signal?.removeEventListener('abort', onAbort);
    }
  }
}

function abortedError(waiter: Waiter<never>): ComputeError {
  return new ComputeError('ABORTED', `${waiter.operation} was aborted`, {
    operation: waiter.operation,
    cause: waiter.signal?.reason,
  });
}

function timeoutError(waiter: Waiter<never>): ComputeError {
  return new ComputeError('TIMEOUT', `${waiter.operation} did not finish within ${waiter.timeoutMs} ms`, {
    operation: waiter.operation,
    retryable: true,
  });
}
