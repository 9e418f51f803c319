// One source, many readers: each reads at its own pace from a bounded buffer, and is told how much it missed.

/** Buffered for one reader before the oldest are dropped. */
export const DEFAULT_READER_CAPACITY = 4096;

export interface BroadcastOptions<T> {
  /** Items buffered for each reader; at least 1. Default 4096. */
  readonly capacity?: number;
  /** Makes the item that stands in the place of `count` dropped ones; `last` is the newest of them. */
  readonly makeGap: (count: number, last: T) => T;
}

/**
 * Hands every published item to every reader, in order. Nothing waits: a reader that falls behind loses its oldest items
 * and reads one gap item in their place.
 */
export class Broadcast<T> {
  readonly #readers = new Set<Reader<T>>();
  readonly #capacity: number;
  readonly #makeGap: (count: number, last: T) => T;
  #closed = false;

  constructor(options: BroadcastOptions<T>) {
    const capacity = options.capacity ?? DEFAULT_READER_CAPACITY;
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new RangeError(`capacity must be a positive integer, not ${capacity}`);
    }
    this.#capacity = capacity;
    this.#makeGap = options.makeGap;
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** Does nothing after {@link close}. */
  publish(item: T): void {
    for (const reader of this.#readers) reader.push(item);
  }

  /**
   * Items published from now on. Ends after {@link close} (what is buffered is still read), or at once when the reader
   * returns or `signal` fires. A pending `next()` does not keep the process alive.
   */
  subscribe(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterableIterator<T> {
    const reader = new Reader<T>(this.#capacity, this.#makeGap, () => this.#readers.delete(reader));
    if (this.#closed) reader.finish();
    else this.#readers.add(reader);
    reader.watch(options.signal);
    return reader;
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    for (const reader of this.#readers) reader.finish();
    this.#readers.clear();
  }
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

class Reader<T> implements AsyncIterableIterator<T> {
  /** A ring of at most `capacity` items: the oldest at `head`. It grows by pushing until it is full. */
  readonly #ring: T[] = [];
  #head = 0;
  #length = 0;
  #dropped = 0;
  #lastDropped: T | undefined;
  #ended = false;
  readonly #waiting: ((result: IteratorResult<T>) => void)[] = [];
  #unwatch: (() => void) | undefined;
  readonly #capacity: number;
  readonly #makeGap: (count: number, last: T) => T;
  readonly #leave: () => void;

  constructor(capacity: number, makeGap: (count: number, last: T) => T, leave: () => void) {
    this.#capacity = capacity;
    this.#makeGap = makeGap;
    this.#leave = leave;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this;
  }

  watch(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const stop = (): void => this.#stop();
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener('abort', stop, { once: true });
    this.#unwatch = () => signal.removeEventListener('abort', stop);
  }

  push(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting({ done: false, value: item });
      return;
    }
    if (this.#length < this.#capacity) {
      const at = (this.#head + this.#length) % this.#capacity;
      this.#ring[at] = item;
      this.#length += 1;
      return;
    }
    this.#lastDropped = this.#ring[this.#head];
    this.#dropped += 1;
    this.#ring[this.#head] = item;
    this.#head = (this.#head + 1) % this.#capacity;
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#dropped > 0) {
      const gap = this.#makeGap(this.#dropped, this.#lastDropped as T);
      this.#dropped = 0;
      this.#lastDropped = undefined;
      return Promise.resolve({ done: false, value: gap });
    }
    if (this.#length > 0) {
      const value = this.#ring[this.#head] as T;
      this.#head = (this.#head + 1) % this.#capacity;
      this.#length -= 1;
      if (this.#length === 0) this.#clear();
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended) return Promise.resolve(DONE);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  return(): Promise<IteratorResult<T>> {
    this.#stop();
    return Promise.resolve(DONE);
  }

  /** No more items will come; what is buffered can still be read. */
  finish(): void {
    this.#ended = true;
    this.#unwatch?.();
    for (const waiting of this.#waiting.splice(0)) waiting(DONE);
  }

  #stop(): void {
    this.#clear();
    this.#dropped = 0;
    this.#leave();
    this.finish();
  }

  /** An idle reader holds no event. */
  #clear(): void {
    this.#ring.length = 0;
    this.#head = 0;
    this.#length = 0;
  }
}
