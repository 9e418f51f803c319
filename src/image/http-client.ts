// HTTP as images, Glance and Keystone need it: connections kept, redirects and secrets held back, typed failures.
import type { Dispatcher } from 'undici';
import { ComputeError, type ComputeErrorOptions } from '../driver/errors.js';
import type { HttpSourceOptions } from './types.js';

const MAX_REDIRECTS = 3;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
/** What TLS finds wrong with a certificate is so at the next try, too. */
const CERTIFICATE_ERROR = /CERT|VERIFY/;

export type HttpResponse = Dispatcher.ResponseData;

export interface HttpRequest {
  readonly url: URL;
  /** Begins the message of a failure, which never repeats the URL: `image 7 cannot be downloaded`. */
  readonly subject: string;
  readonly signal: AbortSignal;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Sent to the origin of `url` alone, wherever that redirects to. */
  readonly token?: string | undefined;
}

/** What a request brings along. */
export interface HttpContent {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly type?: string;
  readonly body?: string | AsyncIterable<Uint8Array>;
  /** Of a body that is no text. */
  readonly bytes?: number;
  /** Milliseconds between two pieces that the server takes, and from the last one to its answer. */
  readonly answerTimeoutMs?: number;
}

type Subject = Pick<HttpRequest, 'subject'>;

/** Opens no connection and reads no file before the first request. */
export class HttpClient {
  readonly #options: HttpSourceOptions;
  #transport: Promise<{ readonly agent: Dispatcher; readonly send: Transport }> | undefined;
  #closed = false;

  constructor(options: HttpSourceOptions) {
    this.#options = options;
  }

  /** The caller reads or discards the body. Any status but those of redirects is an answer. */
  async get(request: HttpRequest): Promise<HttpResponse> {
    let { url } = request;
    for (let redirects = 0; ; redirects++) {
      const token = url.origin === request.url.origin ? request.token : undefined;
      const response = await this.#send(request, url, {
        headers: {
          ...request.headers,
          'accept-encoding': 'identity',
          ...(token !== undefined && { 'x-auth-token': token }),
        },
      });
      if (!REDIRECTS.has(response.statusCode)) return response;
      discard(response);
      url = this.#redirected(request, url, header(response, 'location'));
      if (redirects === MAX_REDIRECTS)
        throw fault(request, `the server redirects more than ${MAX_REDIRECTS} times`);
    }
  }

  /** Follows no redirect: what is posted is meant for this server alone. */
  async post(request: HttpRequest, body: unknown): Promise<HttpResponse> {
    return await this.send(request, { method: 'POST', type: 'application/json', body: JSON.stringify(body) });
  }

  /** As {@link post}. */
  async send(request: HttpRequest, content: HttpContent): Promise<HttpResponse> {
    const { token } = request;
    const { method, type, body, bytes, answerTimeoutMs } = content;
    return await this.#send(request, request.url, {
      method,
      headers: {
        ...request.headers,
        'accept-encoding': 'identity',
        ...(type !== undefined && { 'content-type': type }),
        ...(bytes !== undefined && { 'content-length': String(bytes) }),
        ...(token !== undefined && { 'x-auth-token': token }),
      },
      // undici takes any iterable of buffers, waits for the server with it, and holds it to the length.
      ...(body !== undefined && { body: body as string }),
      ...(answerTimeoutMs !== undefined && { headersTimeout: answerTimeoutMs }),
    });
  }

  /** What is under way fails. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const transport = await this.#transport?.catch(() => undefined);
    await transport?.agent.destroy();
  }

  async #send(
    request: HttpRequest,
    url: URL,
    more: Omit<Dispatcher.RequestOptions, 'origin' | 'path' | 'method'> & {
      readonly method?: HttpContent['method'];
    },
  ): Promise<HttpResponse> {
    if (this.#closed) throw closed(request);
    this.#transport ??= this.#connect();
    const { agent, send } = await this.#transport;
    try {
      return await send(url, { dispatcher: agent, signal: request.signal, ...more });
    } catch (error) {
      if (this.#closed) throw closed(request);
      throw connectionFault(request, error);
    }
  }

  /** A failure is tried again with the next request: the CA file may be there by then. */
  async #connect(): Promise<{ readonly agent: Dispatcher; readonly send: Transport }> {
    try {
      const { makeAgent, request } = await import('./http-agent.js');
      return { agent: await makeAgent(this.#options), send: request };
    } catch (error) {
      this.#transport = undefined;
      throw error;
    }
  }

  /** An image's location must not reach other hosts through this one, unless they are listed. */
  #redirected({ subject, url: start }: HttpRequest, from: URL, location: string | undefined): URL {
    const to =
      location !== undefined && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    if (!to) throw fault({ subject }, 'the server redirects to nowhere');
    if (to.origin === start.origin) return to;
    const asSafe = to.protocol === 'https:' || (to.protocol === 'http:' && start.protocol === 'http:');
    if (asSafe && (this.#options.allowedRedirectHosts ?? []).includes(to.host)) return to;
    throw fault({ subject }, 'the server redirects to another origin');
  }
}

type Transport = typeof import('undici').request;

export function header({ headers }: HttpResponse, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** Closes the connection, for the rest of the body may be endless. */
export function discard({ body }: HttpResponse): void {
  body.on('error', () => undefined).destroy();
}

/** Rejects where the body is longer or no JSON, without a word of what it says. */
export async function readJson(
  request: Pick<HttpRequest, 'subject' | 'signal'>,
  response: HttpResponse,
  mostBytes: number,
): Promise<unknown> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of response.body as AsyncIterable<Uint8Array>) {
      bytes += piece.length;
      if (bytes > mostBytes) throw fault(request, `the server answers with more than ${mostBytes} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    throw connectionFault(request, error);
  }
  try {
    return JSON.parse(Buffer.concat(pieces, bytes).toString('utf8'));
  } catch {
    throw fault(request, 'the server does not answer with JSON');
  }
}

export function fault(
  { subject }: Subject,
  reason: string,
  options: Omit<ComputeErrorOptions, 'operation'> = {},
): ComputeError {
  return new ComputeError('IMAGE_DOWNLOAD_FAILED', `${subject}: ${reason}`, {
    operation: 'download',
    ...options,
  });
}

/** For a status that is not the wanted one; the body is discarded. */
export function statusFault({ subject }: Subject, response: HttpResponse): ComputeError {
  discard(response);
  const { statusCode } = response;
  const details = { statusCode };
  if (statusCode === 404 || statusCode === 410) {
    return new ComputeError('IMAGE_NOT_FOUND', `${subject}: the server does not have it`, { details });
  }
  return fault({ subject }, `the server answers with status ${statusCode}`, {
    retryable: TRANSIENT_STATUS.has(statusCode),
    details,
  });
}

export function connectionFault(
  { subject, signal }: Pick<HttpRequest, 'subject' | 'signal'>,
  error: unknown,
): ComputeError {
  if (ComputeError.is(error)) return error;
  if (signal.aborted) {
    return new ComputeError('ABORTED', `${subject}: it was aborted`, {
      operation: 'download',
      cause: signal.reason,
    });
  }
  const { code, message } = error as NodeJS.ErrnoException;
  return fault({ subject }, `the connection failed: ${code === undefined ? '' : `${code}: `}${message}`, {
    retryable: !CERTIFICATE_ERROR.test(code ?? ''),
    // undici's parser quotes what the server sent, which may be the token.
    ...(!('data' in (error as object)) && { cause: error }),
  });
}

/** Passes by itself, maybe within seconds. */
export function isPassing(error: unknown): error is ComputeError {
  return ComputeError.is(error) && error.code === 'IMAGE_DOWNLOAD_FAILED' && error.retryable;
}

function closed({ subject }: Subject): ComputeError {
  return new ComputeError('CLOSED', `${subject}: its client is closed`, { operation: 'download' });
}
