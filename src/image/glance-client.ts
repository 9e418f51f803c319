// Requests to Glance v2: which endpoint, with which token.
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { GlanceOptions } from './glance-options.js';
import {
  discard,
  HttpClient,
  type HttpContent,
  type HttpRequest,
  type HttpResponse,
  isPassing,
} from './http-client.js';
import { imageEndpoint, Keystone } from './keystone.js';
import type { HttpSourceOptions } from './types.js';

interface Access {
  readonly token: string | undefined;
  readonly endpoints: readonly string[];
}

type GlanceRequest = Omit<HttpRequest, 'url' | 'token'>;
type Ask = (request: HttpRequest) => Promise<HttpResponse>;

export class GlanceClient {
  readonly #options: GlanceOptions;
  readonly #http: HttpClient;
  readonly #keystone: Keystone | undefined;

  constructor(options: GlanceOptions, http: HttpSourceOptions) {
    const { auth } = options;
    this.#options = options;
    this.#http = new HttpClient(http);
    this.#keystone = auth && 'authUrl' in auth ? new Keystone(auth, this.#http) : undefined;
  }

  /** `path` is below `/v2`. Any status but 401 and 403 is an answer. Rejects with `UNAUTHORIZED` for those. */
  async get(path: string, request: GlanceRequest): Promise<HttpResponse> {
    return await this.#call(path, request, (one) => this.#http.get(one));
  }

  /** The same with something to send; `content` is asked for it anew for each try. */
  async send(path: string, request: GlanceRequest, content: () => HttpContent): Promise<HttpResponse> {
    return await this.#call(path, request, (one) => this.#http.send(one, content()));
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  async #call(path: string, request: GlanceRequest, ask: Ask): Promise<HttpResponse> {
    let access = await this.#access(request.signal);
    let response = await this.#ask(path, request, access, ask);
    if (response.statusCode === 401 && this.#keystone && access.token !== undefined) {
      // Revoked before its time, or Keystone was reset.
      discard(response);
      this.#keystone.forget(access.token);
      access = await this.#access(request.signal);
      response = await this.#ask(path, request, access, ask);
    }
    const { statusCode } = response;
    if (statusCode !== 401 && statusCode !== 403) return response;
    discard(response);
    throw new ComputeError('UNAUTHORIZED', `${request.subject}: Glance refuses access`, {
      operation: 'download',
      details: { statusCode },
    });
  }

  async #access(signal: AbortSignal): Promise<Access> {
    const { auth, endpoints } = this.#options;
    if (!this.#keystone)
      return { token: auth?.type === 'token' ? auth.token : undefined, endpoints: endpoints ?? [] };
    using deadline = new Deadline({ operation: 'authentication', signal });
    const { token, catalog } = await deadline.race(this.#keystone.session());
    return { token, endpoints: endpoints ?? [imageEndpoint(catalog, this.#options)] };
  }

  /** One endpoint after another where a connection fails or a server is in trouble; the last one's answer counts. */
  async #ask(
    path: string,
    request: GlanceRequest,
    { token, endpoints }: Access,
    ask: Ask,
  ): Promise<HttpResponse> {
    for (const [index, endpoint] of endpoints.entries()) {
      const url = new URL(`${endpoint.replace(/\/+$/, '').replace(/\/v2$/, '')}/v2${path}`);
      const isLast = index === endpoints.length - 1;
      try {
        const response = await ask({ ...request, url, token });
        if (isLast || response.statusCode < 500) return response;
        discard(response);
      } catch (error) {
        if (isLast || !isPassing(error)) throw error;
      }
    }
    throw new ComputeError('INTERNAL', 'Glance has no endpoint');
  }
}
