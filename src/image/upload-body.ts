// The bytes of a file on their way to a server, and how fast it takes them.
import type { Disk } from './disk.js';
import type { HttpSourceOptions } from './types.js';

export interface UploadedFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly onProgress?: ((doneBytes: number) => void) | undefined;
}

/** A disk is read in whole sectors; the file may end within its last. */
export async function* bytesOf(
  disk: Disk,
  file: UploadedFile,
  rate: LeastRate,
): AsyncGenerator<Uint8Array, void, undefined> {
  let done = 0;
  rate.begin();
  const { body } = await disk.stream({ format: 'raw', signal: rate.signal });
  for await (const piece of body as AsyncIterable<Buffer>) {
    const part = piece.subarray(0, file.sizeBytes - done);
    yield part;
    done += part.length;
    rate.taken(part.length);
    file.onProgress?.(done);
  }
  // From here on it is the answer that is waited for.
  rate.end();
}

/** Ends a transfer of which the server took too little for a while. Reading from disk is much faster and counts as its time. */
export class LeastRate {
  readonly signal: AbortSignal;
  missed = false;
  readonly #slow = new AbortController();
  readonly #windowMs: number;
  readonly #leastBytes: number;
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(signal: AbortSignal, http: HttpSourceOptions) {
    this.signal = AbortSignal.any([signal, this.#slow.signal]);
    this.#windowMs = http.rateWindowMs ?? 30_000;
    this.#leastBytes = ((http.leastBytesPerSecond ?? 16 * 1024) * this.#windowMs) / 1000;
  }

  /** A try of its own: the one before it may have ended in the middle. */
  begin(): void {
    this.end();
    this.#bytes = 0;
    this.#timer = setInterval(() => {
      if (this.#bytes < this.#leastBytes) {
        this.missed = true;
        this.#slow.abort();
      }
      this.#bytes = 0;
    }, this.#windowMs);
    this.#timer.unref();
  }

  taken(bytes: number): void {
    this.#bytes += bytes;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
