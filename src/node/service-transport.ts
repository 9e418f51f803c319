// An API of OpenStack over HTTP: where it is, Keystone's tokens or one that is given, answers within limits.
import type { Dispatcher } from 'undici';
import { Deadline } from '../driver/deadline.js';
import { ComputeError, type ErrorCode } from '../driver/errors.js';
import { type GlanceOptions, parseGlanceOptions } from '../image/glance-options.js';
import { HttpClient } from '../image/http-client.js';
import { Keystone, serviceEndpoint } from '../image/keystone.js';

/** Where the service is, and how to be let in. */
export interface ServiceAccess {
  /** Root of the API. Default: the one in Keystone's catalog for `region` and `interface`. */
  readonly endpoint?: string;
  /** As for Glance: Keystone's credentials, or a token that is never renewed. Default none. */
  readonly auth?: NonNullable<GlanceOptions['auth']>;
  /** Default: the catalog's first. */
  readonly region?: string;
  /** Default `public`. */
  readonly interface?: NonNullable<GlanceOptions['interface']>;
  /** PEM file of the authorities that are trusted in place of those that Node.js knows. Absolute. */
  readonly caFile?: string;
}

export interface Service {
  /** For people: `Placement`. */
  readonly name: string;
  /** In Keystone's catalog: `placement`. */
  readonly type: string;
  /** Of an error where it cannot be asked. */
  readonly failure: ErrorCode;
  readonly headers?: Readonly<Record<string, string>>;
  /** It does some things for other services alone: the token is sent as that of a service, too. Default false. */
  readonly asService?: boolean;
}

export interface ServiceRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the root of the API. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
}

export interface ServiceAnswer {
  readonly status: number;
  /** Parsed; undefined where there is none. */
  readonly body: unknown;
}

const MOST_BYTES = 64 * 2 ** 20;

/** Asks nobody before the first request. */
export class ServiceTransport {
  readonly #service: Service;
  readonly #access: ServiceAccess;
  readonly #http: HttpClient;
  readonly #keystone: Keystone | undefined;
  #connection:
    | Promise<{ readonly agent: Dispatcher; readonly send: typeof import('undici').request }>
    | undefined;

  /** Throws `INVALID_ARGUMENT`. */
  constructor(service: Service, access: ServiceAccess) {
    checkAccess(service, access);
    const { auth, caFile } = access;
    this.#service = service;
    this.#access = access;
    this.#http = new HttpClient({ ...(caFile !== undefined && { caFile }) });
    this.#keystone = auth && 'authUrl' in auth ? new Keystone(auth, this.#http) : undefined;
  }

  /**
   * Any status is an answer, save 401 and 403: `UNAUTHORIZED`. Rejects with the service's failure where there is none,
   * `retryable` where it may come back.
   */
  async request(request: ServiceRequest, signal: AbortSignal): Promise<ServiceAnswer> {
    const place = await this.#place(signal);
    const answer = await this.#send(request, place, signal);
    if (answer.status !== 401 || !this.#keystone || place.token === undefined) return this.#allowed(answer);
    // Revoked before its time, or Keystone was reset.
    this.#keystone.forget(place.token);
    return this.#allowed(await this.#send(request, await this.#place(signal), signal));
  }

  async close(): Promise<void> {
    await this.#http.close();
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.agent.destroy();
  }

  async #place(
    signal: AbortSignal,
  ): Promise<{ readonly token: string | undefined; readonly endpoint: string }> {
    const { auth, endpoint } = this.#access;
    if (!this.#keystone) {
      return { token: auth?.type === 'token' ? auth.token : undefined, endpoint: endpoint as string };
    }
    using deadline = new Deadline({ operation: 'authentication', signal });
    const { token, catalog } = await deadline.race(this.#keystone.session()).catch((error: unknown) => {
      throw this.#withoutToken(error);
    });
    const { type } = this.#service;
    const found = endpoint ?? serviceEndpoint(catalog, type, this.#access);
    if (found === undefined)
      throw this.#unreachable(`Keystone's catalog has no endpoint of type ${type}`, false);
    return { token, endpoint: found };
  }

  /** Keystone's own failures are told in the words of images. */
  #withoutToken(error: unknown): unknown {
    if (!ComputeError.is(error) || error.code !== 'IMAGE_DOWNLOAD_FAILED') return error;
    return this.#unreachable(error.message, error.retryable, error);
  }

  /** Not the client of images: that knows neither PUT nor DELETE, and follows redirects. */
  async #send(
    { method, path, body }: ServiceRequest,
    { token, endpoint }: { readonly token: string | undefined; readonly endpoint: string },
    signal: AbortSignal,
  ): Promise<ServiceAnswer> {
    this.#connection ??= this.#connect();
    const { agent, send } = await this.#connection;
    try {
      const response = await send(`${endpoint.replace(/\/+$/, '')}${path}`, {
        dispatcher: agent,
        method,
        signal,
        headers: {
          accept: 'application/json',
          ...this.#service.headers,
          ...(token !== undefined && { 'x-auth-token': token }),
          ...(token !== undefined && this.#service.asService && { 'x-service-token': token }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: response.statusCode, body: parsed(await this.#textOf(response.body)) };
    } catch (cause) {
      if (ComputeError.is(cause)) throw cause;
      const { code, message } = cause as NodeJS.ErrnoException;
      throw this.#unreachable(code === undefined ? message : `${code}: ${message}`, true, cause);
    }
  }

  /** Loaded with the first request: undici takes 17 MB of memory. */
  async #connect(): Promise<{ readonly agent: Dispatcher; readonly send: typeof import('undici').request }> {
    const { caFile } = this.#access;
    try {
      const { makeAgent, request } = await import('../image/http-agent.js');
      return { agent: await makeAgent({ ...(caFile !== undefined && { caFile }) }), send: request };
    } catch (error) {
      this.#connection = undefined;
      throw error;
    }
  }

  #allowed(answer: ServiceAnswer): ServiceAnswer {
    if (answer.status !== 401 && answer.status !== 403) return answer;
    const { name, type } = this.#service;
    throw new ComputeError('UNAUTHORIZED', `${name} refuses access`, {
      operation: type,
      details: { statusCode: answer.status },
    });
  }

  async #textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of body) {
      bytes += piece.length;
      if (bytes > MOST_BYTES) throw this.#unreachable(`it answers with more than ${MOST_BYTES} bytes`, false);
      pieces.push(piece);
    }
    return Buffer.concat(pieces, bytes).toString('utf8');
  }

  #unreachable(reason: string, retryable: boolean, cause?: unknown): ComputeError {
    const { name, type, failure } = this.#service;
    return new ComputeError(failure, `${name} cannot be asked: ${reason}`, {
      operation: type,
      retryable,
      cause,
    });
  }
}

function checkAccess(
  { name, type }: Service,
  { endpoint, auth, region, interface: wanted }: ServiceAccess,
): void {
  try {
    parseGlanceOptions({
      ...(endpoint !== undefined && { endpoints: [endpoint] }),
      ...(auth !== undefined && { auth }),
      ...(region !== undefined && { region }),
      ...(wanted !== undefined && { interface: wanted }),
    });
  } catch (error) {
    if (!ComputeError.is(error)) throw error;
    const problems = error.details['problems'] as readonly string[];
    throw new ComputeError('INVALID_ARGUMENT', `options of ${name}: ${problems.join('; ')}`, {
      operation: type,
      details: error.details,
    });
  }
}

/** A proxy's page of HTML is no answer of the service's: its status is. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
