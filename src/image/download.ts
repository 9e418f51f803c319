// The bytes of one image over HTTP, into one file: checked, at a least rate, and going on where a connection broke.
import { connectionFault, discard, fault, type HttpResponse, header, statusFault } from './http-client.js';
import { Retries } from './retries.js';
import { SinkWriter } from './sink-writer.js';
import type { SourceRequest, SourceResult } from './source-request.js';
import { removeTemporary } from './temporaries.js';

const REPORT_INTERVAL_MS = 100;
/** A connection that got this much further was a success: the pauses begin anew. */
const PROGRESS_BYTES = 512 * 1024;
/** The one kind that names bytes: a weak one (`W/`) stands for several. */
const STRONG_ETAG = /^"[\x21\x23-\x7e]{0,256}"$/;

/** What is needed of the server: an answer to a GET with these headers. */
export type Ask = (headers: Readonly<Record<string, string>>) => Promise<HttpResponse>;

/** Rejects with `IMAGE_NOT_FOUND`, `IMAGE_DOWNLOAD_FAILED`, `ABORTED`, and with what `ask` and `onSize` reject. */
export async function download(request: SourceRequest, ask: Ask): Promise<SourceResult> {
  return await new Download(request, ask).run();
}

export function downloadSubject(imageId: string): string {
  return `image ${imageId} cannot be downloaded`;
}

class Download {
  readonly #request: SourceRequest;
  readonly #ask: Ask;
  readonly #subject: { readonly subject: string; readonly signal: AbortSignal };
  readonly #retries: Retries;
  readonly #rate: LeastRate;
  #writer: SinkWriter | undefined;
  #total: number | undefined;
  #etag: string | undefined;
  /** The server has shown that its ranges are none. */
  #noRanges = false;
  #furthest = 0;
  #reported = 0;

  constructor(request: SourceRequest, ask: Ask) {
    const { image, signal, http, logger } = request;
    this.#request = request;
    this.#ask = ask;
    this.#subject = { subject: downloadSubject(image.id), signal };
    this.#retries = new Retries(http, { imageId: image.id, signal, logger });
    this.#rate = new LeastRate(http.leastBytesPerSecond ?? 16 * 1024, http.rateWindowMs ?? 30_000);
  }

  async run(): Promise<SourceResult> {
    try {
      for (;;) {
        try {
          return await this.#attempt();
        } catch (error) {
          this.#countProgress();
          await this.#retries.next(error);
        }
      }
    } catch (error) {
      await this.#writer?.abandon();
      throw error;
    }
  }

  async #attempt(): Promise<SourceResult> {
    const begun = this.#resumable();
    const response = await this.#ask({
      ...(begun && { range: `bytes=${begun.bytes}-` }),
      ...(begun && this.#etag !== undefined && { 'if-range': this.#etag }),
    });
    const writer = begun && this.#continues(response, begun.bytes) ? begun : await this.#begin(response);
    await this.#receive(response.body, writer);
    if (this.#total !== undefined && writer.bytes !== this.#total) {
      throw fault(this.#subject, `${writer.bytes} of ${this.#total} bytes arrived`, { retryable: true });
    }
    const result = await writer.finish();
    this.#report(result.bytes, result.bytes);
    return result;
  }

  /** Only bytes of one and the same file are joined: those of one ETag, or whose checksum is known and will tell. */
  #resumable(): SinkWriter | undefined {
    const known = this.#etag !== undefined || this.#request.image.checksum !== undefined;
    return known && this.#total !== undefined && !this.#noRanges && this.#writer?.bytes
      ? this.#writer
      : undefined;
  }

  /** False where the server sends the whole file: it takes no ranges, or the file has changed. */
  #continues(response: HttpResponse, from: number): boolean {
    const { statusCode } = response;
    if (statusCode === 200) return false;
    if (statusCode !== 206 && statusCode !== 416) throw statusFault(this.#subject, response);
    const total = this.#total ?? 0;
    const etag = header(response, 'etag');
    const same = etag === undefined || this.#etag === undefined || etag === this.#etag;
    if (same && header(response, 'content-range') === `bytes ${from}-${total - 1}/${total}`) {
      this.#checkBody(response);
      return true;
    }
    discard(response);
    this.#noRanges = true;
    throw fault(this.#subject, 'the server sends another range than it was asked for', { retryable: true });
  }

  /** Takes the first byte of the whole image; what was there is gone. */
  async #begin(response: HttpResponse): Promise<SinkWriter> {
    try {
      // Before the check: what it takes of the disk must not count against the room for the whole.
      if (this.#writer) {
        await this.#writer.abandon();
        await removeTemporary(this.#request.target);
        this.#writer = undefined;
      }
      await this.#checkWhole(response);
      this.#writer = await SinkWriter.open(this.#request, this.#total);
      return this.#writer;
    } catch (error) {
      discard(response);
      throw error;
    }
  }

  async #checkWhole(response: HttpResponse): Promise<void> {
    if (response.statusCode !== 200) throw statusFault(this.#subject, response);
    this.#checkBody(response);
    const etag = header(response, 'etag');
    this.#etag = etag !== undefined && STRONG_ETAG.test(etag) ? etag : undefined;
    const length = header(response, 'content-length');
    const announced = length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
    const declared = this.#request.image.sizeBytes;
    if (announced !== undefined && declared !== undefined && announced !== declared) {
      throw fault(
        this.#subject,
        `the server announces ${announced} bytes, the image is declared with ${declared}`,
      );
    }
    const bytes = announced ?? declared;
    this.#total = bytes;
    if (bytes !== undefined) await this.#request.onSize({ bytes, storedBytes: bytes });
  }

  #checkBody(response: HttpResponse): void {
    const encoding = header(response, 'content-encoding') ?? 'identity';
    const type = header(response, 'content-type')?.split(';')[0]?.trim().toLowerCase();
    const isPage = type === 'text/html' || type === 'application/xhtml+xml';
    if (encoding === 'identity' && !isPage) return;
    discard(response);
    throw fault(
      this.#subject,
      isPage ? 'the server sends a web page' : 'the server sends it encoded, against the request',
    );
  }

  async #receive(body: AsyncIterable<Uint8Array>, writer: SinkWriter): Promise<void> {
    this.#rate.begin();
    try {
      for await (const piece of body) {
        if (this.#rate.isMissed(piece.length))
          throw fault(this.#subject, 'the server is too slow', { retryable: true });
        if (this.#total !== undefined && writer.bytes + piece.length > this.#total)
          throw fault(this.#subject, `more than the declared ${this.#total} bytes arrive`);
        await writer.write(piece);
        if (performance.now() - this.#reported >= REPORT_INTERVAL_MS) this.#report(writer.bytes, this.#total);
        this.#rate.wait();
      }
    } catch (error) {
      throw connectionFault(this.#subject, error);
    }
  }

  #report(doneBytes: number, totalBytes: number | undefined): void {
    this.#reported = performance.now();
    this.#request.report({
      activity: 'downloading',
      doneBytes,
      ...(totalBytes !== undefined && { totalBytes }),
    });
  }

  #countProgress(): void {
    const bytes = this.#writer?.bytes ?? 0;
    if (bytes - this.#furthest < Math.max(PROGRESS_BYTES, this.#rate.windowBytes)) return;
    this.#furthest = bytes;
    this.#retries.reset();
  }
}

/** Counts the time that the server lets wait, not that of writing. Silence is the idle time-out's affair. */
class LeastRate {
  readonly windowBytes: number;
  readonly #windowMs: number;
  #waitingSince = 0;
  #waitedMs = 0;
  #bytes = 0;

  constructor(bytesPerSecond: number, windowMs: number) {
    this.windowBytes = (bytesPerSecond * windowMs) / 1000;
    this.#windowMs = windowMs;
  }

  begin(): void {
    this.#waitedMs = 0;
    this.#bytes = 0;
    this.wait();
  }

  wait(): void {
    this.#waitingSince = performance.now();
  }

  isMissed(bytes: number): boolean {
    this.#waitedMs += performance.now() - this.#waitingSince;
    this.#bytes += bytes;
    if (this.#waitedMs < this.#windowMs) return false;
    const missed = this.#bytes < (this.windowBytes * this.#waitedMs) / this.#windowMs;
    this.#waitedMs = 0;
    this.#bytes = 0;
    return missed;
  }
}
