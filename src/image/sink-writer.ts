// Small pieces of a download collected for the addon's file sink; one write is under way while the next is received.
import { callNative, type NativeFileSink } from '../native.js';
import type { Arrival, SourceRequest, SourceResult } from './source-request.js';

/** A native write costs a wake-up of a thread and one of the event loop. */
const WRITE_BYTES = 512 * 1024;

interface CallOptions {
  readonly operation: string;
  readonly signal: AbortSignal;
}

export class SinkWriter {
  readonly #sink: NativeFileSink;
  readonly #arrival: Arrival | undefined;
  readonly #options: CallOptions;
  #bytes = 0;
  #pieces: Uint8Array[] = [];
  #collected = 0;
  #written = 0;
  #writing: Promise<void> = Promise.resolve();

  private constructor(sink: NativeFileSink, arrival: Arrival | undefined, options: CallOptions) {
    this.#sink = sink;
    this.#arrival = arrival;
    this.#options = options;
  }

  /** `totalBytes`: undefined where it is not known. */
  static async open(request: SourceRequest, totalBytes: number | undefined): Promise<SinkWriter> {
    const { image, target, digest, maxBytes, sync, signal, arrival } = request;
    const operation = `download of image ${image.id}`;
    // Without the signal: a file that came to be after the abort would have no one to close it.
    const sink = await callNative(
      (addon, id) =>
        addon.openFileSink(target, { digest, maxBytes, sync, expectedBytes: totalBytes ?? 0 }, id),
      { operation },
    );
    const writer = new SinkWriter(sink, arrival, { operation, signal });
    try {
      await arrival?.begin(totalBytes);
    } catch (error) {
      await writer.abandon();
      throw error;
    }
    return writer;
  }

  /** What was taken so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves when more may come; the bytes of `piece` must not change after. */
  async write(piece: Uint8Array): Promise<void> {
    this.#bytes += piece.length;
    this.#pieces.push(piece);
    this.#collected += piece.length;
    if (this.#collected >= WRITE_BYTES) await this.#flush();
  }

  async finish(): Promise<SourceResult> {
    await this.#flush();
    await this.#writing;
    return await callNative((_addon, id) => this.#sink.finish(id), this.#options);
  }

  /** The file stays, unfinished. */
  async abandon(): Promise<void> {
    const { operation } = this.#options;
    await callNative((_addon, id) => this.#sink.abandon(id), { operation });
  }

  async #flush(): Promise<void> {
    await this.#writing;
    if (this.#collected === 0) return;
    const chunk = Buffer.concat(this.#pieces, this.#collected);
    this.#pieces = [];
    this.#collected = 0;
    this.#writing = this.#write(chunk);
    // Awaited at the next flush; until then a failure must not count as unhandled.
    this.#writing.catch(() => undefined);
  }

  async #write(chunk: Uint8Array): Promise<void> {
    await callNative((_addon, id) => this.#sink.write(chunk, id), this.#options);
    this.#written += chunk.length;
    this.#arrival?.arrived(this.#written);
  }
}
