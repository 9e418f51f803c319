// Images over HTTP(S): streamed to disk under back-pressure, with caps and time-outs against every kind of bad server.
import { Agent, type Dispatcher, request as httpRequest } from 'undici';
import { ComputeError } from '../driver/errors.js';
import { callNative, type NativeFileSink } from '../native.js';
import type { SourceRequest, SourceResult } from './source-request.js';

const MAX_REDIRECTS = 3;
/** A native write costs a wake-up of a thread and one of the event loop: small pieces are collected up to this. */
const WRITE_BYTES = 512 * 1024;
const REPORT_INTERVAL_MS = 100;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

export async function fetchHttp(request: SourceRequest, address: string): Promise<SourceResult> {
  const url = parseUrl(request, address);
  const agent = new Agent({
    headersTimeout: request.http.headersTimeoutMs ?? 30_000,
    bodyTimeout: request.http.idleTimeoutMs ?? 30_000,
    connect: { timeout: request.http.headersTimeoutMs ?? 30_000 },
  });
  try {
    const response = await open(request, url, agent);
    const total = await checkHeaders(request, response);
    return await stream(request, response.body, total);
  } catch (error) {
    if (ComputeError.is(error)) throw error;
    if (request.signal.aborted) {
      throw new ComputeError('ABORTED', `the download of image ${request.image.id} was aborted`, {
        cause: error,
      });
    }
    throw failed(request, `the connection failed: ${describe(error)}`, { retryable: true, cause: error });
  } finally {
    await agent.destroy();
  }
}

function parseUrl(request: SourceRequest, address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new ComputeError('INVALID_ARGUMENT', `the URL of image ${request.image.id} must be http or https`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `the URL of image ${request.image.id} must not hold a user or password`,
    );
  }
  return url;
}

/** Follows redirects within the origin only: an image's location must not reach other hosts through this one. */
async function open(request: SourceRequest, start: URL, agent: Agent): Promise<Dispatcher.ResponseData> {
  let url = start;
  for (let redirects = 0; ; redirects++) {
    const response = await httpRequest(url, {
      dispatcher: agent,
      signal: request.signal,
      headers: { 'accept-encoding': 'identity' },
    });
    if (!REDIRECTS.has(response.statusCode)) return response;
    await response.body.dump();
    const location = single(response.headers['location']);
    const target =
      location !== undefined && URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    if (!target) throw failed(request, 'the server redirects to nowhere');
    if (target.origin !== start.origin) throw failed(request, 'the server redirects to another origin');
    if (redirects === MAX_REDIRECTS)
      throw failed(request, `the server redirects more than ${MAX_REDIRECTS} times`);
    url = target;
  }
}

/** Gives the length of the body where the server told it. */
async function checkHeaders(
  request: SourceRequest,
  response: Dispatcher.ResponseData,
): Promise<number | undefined> {
  const { statusCode, headers } = response;
  if (statusCode === 404 || statusCode === 410) {
    throw new ComputeError(
      'IMAGE_NOT_FOUND',
      `the server has no image ${request.image.id} (status ${statusCode})`,
      {
        details: { statusCode },
      },
    );
  }
  if (statusCode !== 200) {
    throw failed(request, `the server answers with status ${statusCode}`, {
      retryable: TRANSIENT_STATUS.has(statusCode),
      details: { statusCode },
    });
  }
  const encoding = single(headers['content-encoding']);
  if (encoding !== undefined && encoding !== 'identity') {
    throw failed(request, `the server sends it encoded as ${encoding}, against the request`);
  }
  const type = single(headers['content-type'])?.split(';')[0]?.trim().toLowerCase();
  if (type === 'text/html' || type === 'application/xhtml+xml')
    throw failed(request, 'the server sends a web page');

  const length = single(headers['content-length']);
  const total = length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
  const declared = request.image.sizeBytes;
  if (total !== undefined && declared !== undefined && total !== declared) {
    throw failed(request, `the server announces ${total} bytes, the image is declared with ${declared}`);
  }
  const bytes = total ?? declared;
  if (bytes !== undefined) await request.onSize({ bytes, storedBytes: bytes });
  return bytes;
}

async function stream(
  request: SourceRequest,
  body: Dispatcher.ResponseData['body'],
  total: number | undefined,
): Promise<SourceResult> {
  const operation = `download of image ${request.image.id}`;
  // Without the signal: a file that came to be after the abort would have no one to close it.
  const sink = await callNative(
    (addon, id) =>
      addon.openFileSink(
        request.target,
        { digest: request.digest, maxBytes: request.maxBytes, sync: false },
        id,
      ),
    { operation },
  );
  try {
    const received = await pump(request, body, sink, total);
    if (total !== undefined && received !== total) {
      throw failed(request, `${received} of ${total} bytes arrived`, { retryable: true });
    }
    return await callNative((_addon, id) => sink.finish(id), { operation, signal: request.signal });
  } catch (error) {
    await callNative((_addon, id) => sink.abandon(id), { operation });
    throw error;
  }
}

/** One write is under way while the next piece is received; the socket is not read faster than that. */
async function pump(
  request: SourceRequest,
  body: AsyncIterable<Uint8Array>,
  sink: NativeFileSink,
  total: number | undefined,
): Promise<number> {
  const options = { operation: `download of image ${request.image.id}`, signal: request.signal };
  let received = 0;
  let reported = 0;
  let pieces: Uint8Array[] = [];
  let collected = 0;
  let writing: Promise<void> = Promise.resolve();

  const flush = async (): Promise<void> => {
    await writing;
    if (collected === 0) return;
    const chunk = Buffer.concat(pieces, collected);
    pieces = [];
    collected = 0;
    writing = callNative((_addon, id) => sink.write(chunk, id), options);
    // Awaited at the next flush; until then a failure must not count as unhandled.
    writing.catch(() => undefined);
  };

  for await (const piece of body) {
    received += piece.length;
    if (total !== undefined && received > total)
      throw failed(request, `more than the declared ${total} bytes arrive`);
    pieces.push(piece);
    collected += piece.length;
    if (collected >= WRITE_BYTES) await flush();
    const now = performance.now();
    if (now - reported >= REPORT_INTERVAL_MS) {
      reported = now;
      request.report({
        activity: 'downloading',
        doneBytes: received,
        ...(total !== undefined && { totalBytes: total }),
      });
    }
  }
  await flush();
  await writing;
  request.report({ activity: 'downloading', doneBytes: received, totalBytes: total ?? received });
  return received;
}

function failed(
  request: SourceRequest,
  reason: string,
  options: {
    readonly retryable?: boolean;
    readonly cause?: unknown;
    readonly details?: Record<string, unknown>;
  } = {},
): ComputeError {
  return new ComputeError(
    'IMAGE_DOWNLOAD_FAILED',
    `image ${request.image.id} cannot be downloaded: ${reason}`,
    {
      operation: 'download',
      ...options,
    },
  );
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  return code === undefined ? error.message : `${code}: ${error.message}`;
}
