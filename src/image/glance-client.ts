// Requests to Glance v2: which endpoint, with which token.
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { GlanceOptions } from './glance-options.js';
import { discard, HttpClient, type HttpRequest, type HttpResponse, isPassing } from './http-client.js';
import { imageEndpoint, Keystone } from './keystone.js';
import type { HttpSourceOptions } from './types.js';

interface Access {
  readonly token: string | undefined;
  readonly endpoints: readonly string[];
}

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
  async get(path: string, request: Omit<HttpRequest, 'url' | 'token'>): Promise<HttpResponse> {
    let access = await this.#access(request.signal);
    let response = await this.#ask(path, request, access);
    if (response.statusCode === 401 && this.#keystone && access.token !== undefined) {
      // Revoked before its time, or Keystone was reset.
      discard(response);
      this.#keystone.forget(access.token);
      access = await this.#access(request.signal);
      response = await this.#ask(path, request, access);
    }
    const { statusCode } = response;
    if (statusCode !== 401 && statusCode !== 403) return response;
    discard(response);
    throw new ComputeError('UNAUTHORIZED', `${request.subject}: Glance refuses access`, {
      operation: 'download',
      details: { statusCode },
    });
  }

  async close(): Promise<void> {
    await this.#http.close();
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
    request: Omit<HttpRequest, 'url' | 'token'>,
    { token, endpoints }: Access,
  ): Promise<HttpResponse> {
    for (const [index, endpoint] of endpoints.entries()) {
      const url = new URL(`${endpoint.replace(/\/+$/, '').replace(/\/v2$/, '')}/v2${path}`);
      const isLast = index === endpoints.length - 1;
      try {
        const response = await this.#http.get({ ...request, url, token });
        if (isLast || response.statusCode < 500) return response;
        discard(response);
      } catch (error) {
        if (isLast || !isPassing(error)) throw error;
      }
    }
    throw new ComputeError('INTERNAL', 'Glance has no endpoint');
  }
}
