// Placement over HTTP: the transport of its sink, with Keystone's tokens or one that is given.
import type { Dispatcher } from 'undici';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { type GlanceOptions, parseGlanceOptions } from '../image/glance-options.js';
import { HttpClient } from '../image/http-client.js';
import { Keystone, serviceEndpoint } from '../image/keystone.js';
import { PlacementSink, type PlacementSinkOptions } from '../resources/placement/placement-sink.js';
import {
  PLACEMENT_VERSION,
  type PlacementAnswer,
  type PlacementRequest,
  type PlacementTransport,
} from '../resources/placement/placement-transport.js';

export interface PlacementOptions extends PlacementSinkOptions {
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

const MOST_BYTES = 64 * 2 ** 20;

/** For {@link ReporterOptions.sinks}. Throws `INVALID_ARGUMENT`; asks nobody before the first report. */
export function placementSink(options: PlacementOptions): PlacementSink {
  return new PlacementSink(placementTransport(options), options);
}

/** As {@link placementSink}. */
export function placementTransport(options: PlacementOptions): PlacementTransport {
  return new HttpTransport(options);
}

class HttpTransport implements PlacementTransport {
  readonly #options: PlacementOptions;
  readonly #http: HttpClient;
  readonly #keystone: Keystone | undefined;
  #connection:
    | Promise<{ readonly agent: Dispatcher; readonly send: typeof import('undici').request }>
    | undefined;

  constructor(options: PlacementOptions) {
    checkAccess(options);
    const { auth, caFile } = options;
    this.#options = options;
    this.#http = new HttpClient({ ...(caFile !== undefined && { caFile }) });
    this.#keystone = auth && 'authUrl' in auth ? new Keystone(auth, this.#http) : undefined;
  }

  async request(request: PlacementRequest, signal: AbortSignal): Promise<PlacementAnswer> {
    const access = await this.#access(signal);
    const answer = await this.#send(request, access, signal);
    if (answer.status !== 401 || !this.#keystone || access.token === undefined) return allowed(answer);
    // Revoked before its time, or Keystone was reset.
    this.#keystone.forget(access.token);
    return allowed(await this.#send(request, await this.#access(signal), signal));
  }

  async close(): Promise<void> {
    await this.#http.close();
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.agent.destroy();
  }

  async #access(
    signal: AbortSignal,
  ): Promise<{ readonly token: string | undefined; readonly endpoint: string }> {
    const { auth, endpoint } = this.#options;
    if (!this.#keystone) {
      return { token: auth?.type === 'token' ? auth.token : undefined, endpoint: endpoint as string };
    }
    using deadline = new Deadline({ operation: 'authentication', signal });
    const { token, catalog } = await deadline.race(this.#keystone.session());
    const found = endpoint ?? serviceEndpoint(catalog, 'placement', this.#options);
    if (found === undefined) throw unreachable("Keystone's catalog has no endpoint of type placement", false);
    return { token, endpoint: found };
  }

  /** Not the client of images: that knows neither PUT nor DELETE, and follows redirects. */
  async #send(
    { method, path, body }: PlacementRequest,
    { token, endpoint }: { readonly token: string | undefined; readonly endpoint: string },
    signal: AbortSignal,
  ): Promise<PlacementAnswer> {
    this.#connection ??= this.#connect();
    const { agent, send } = await this.#connection;
    try {
      const response = await send(`${endpoint.replace(/\/+$/, '')}${path}`, {
        dispatcher: agent,
        method,
        signal,
        headers: {
          accept: 'application/json',
          'openstack-api-version': `placement ${PLACEMENT_VERSION}`,
          ...(token !== undefined && { 'x-auth-token': token }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: response.statusCode, body: parsed(await textOf(response.body)) };
    } catch (cause) {
      if (ComputeError.is(cause)) throw cause;
      const { code, message } = cause as NodeJS.ErrnoException;
      throw unreachable(code === undefined ? message : `${code}: ${message}`, true, cause);
    }
  }

  /** Loaded with the first request: undici takes 17 MB of memory. */
  async #connect(): Promise<{ readonly agent: Dispatcher; readonly send: typeof import('undici').request }> {
    const { caFile } = this.#options;
    try {
      const { makeAgent, request } = await import('../image/http-agent.js');
      return { agent: await makeAgent({ ...(caFile !== undefined && { caFile }) }), send: request };
    } catch (error) {
      this.#connection = undefined;
      throw error;
    }
  }
}

function checkAccess({ endpoint, auth, region, interface: wanted }: PlacementOptions): void {
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
    throw new ComputeError('INVALID_ARGUMENT', `options of Placement: ${problems.join('; ')}`, {
      operation: 'placement',
      details: error.details,
    });
  }
}

function allowed(answer: PlacementAnswer): PlacementAnswer {
  if (answer.status !== 401 && answer.status !== 403) return answer;
  throw new ComputeError('UNAUTHORIZED', 'Placement refuses access', {
    operation: 'placement',
    details: { statusCode: answer.status },
  });
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > MOST_BYTES) throw unreachable(`it answers with more than ${MOST_BYTES} bytes`, false);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, bytes).toString('utf8');
}

/** A proxy's page of HTML is no answer of Placement's: its status is. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreachable(reason: string, retryable: boolean, cause?: unknown): ComputeError {
  return new ComputeError('PLACEMENT_FAILED', `Placement cannot be asked: ${reason}`, {
    operation: 'placement',
    retryable,
    cause,
  });
}
