// Keystone v3: a token for as long as it lasts, and the endpoints of its catalog.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { check } from '../driver/schema.js';
import {
  type GlanceOptions,
  type KeystoneCredentials,
  type KeystonePassword,
  tokenText,
} from './glance-options.js';
import { discard, fault, type HttpClient, header, readJson, statusFault } from './http-client.js';

/** A catalog of many regions and services has some 100 KB. */
const MOST_BYTES = 2 ** 20;
const TIMEOUT_MS = 60_000;
/** A token is renewed this long before it ends, or at half its time: a request that carries it may wait. */
const MARGIN_MS = 60_000;

const SUBJECT = { subject: 'Keystone gives no token' };

/** The parts that are used, of the body of POST /v3/auth/tokens. */
const answerSchema: v.GenericSchema<unknown, { readonly token: Token }> = v.object({
  token: v.object({
    issued_at: v.pipe(v.string(), v.maxLength(64)),
    expires_at: v.pipe(v.string(), v.maxLength(64)),
    catalog: v.optional(
      v.array(
        v.object({
          type: v.string(),
          endpoints: v.array(
            v.object({ interface: v.string(), region_id: v.nullish(v.string()), url: v.string() }),
          ),
        }),
      ),
      [],
    ),
  }),
});

interface Token {
  readonly issued_at: string;
  readonly expires_at: string;
  readonly catalog: readonly CatalogEntry[];
}

interface CatalogEntry {
  /** `image`, `compute` ... */
  readonly type: string;
  readonly endpoints: readonly {
    readonly interface: string;
    readonly region_id?: string | null | undefined;
    readonly url: string;
  }[];
}

export interface Session {
  readonly token: string;
  readonly catalog: readonly CatalogEntry[];
  /** Of the monotonic clock: neither a clock that is set nor one that differs from Keystone's matters. */
  readonly renewAtMs: number;
}

/** One session for all who ask; a new one costs one request, however many wait for it. */
export class Keystone {
  readonly #credentials: KeystoneCredentials;
  readonly #client: HttpClient;
  #session: Session | undefined;
  #pending: Promise<Session> | undefined;

  constructor(credentials: KeystoneCredentials, client: HttpClient) {
    this.#credentials = credentials;
    this.#client = client;
  }

  /** Rejects with `UNAUTHORIZED`, and with `IMAGE_DOWNLOAD_FAILED` where Keystone cannot be asked. Takes a minute at most. */
  async session(): Promise<Session> {
    if (this.#session && performance.now() < this.#session.renewAtMs) return this.#session;
    this.#pending ??= this.#authenticate().finally(() => {
      this.#pending = undefined;
    });
    return await this.#pending;
  }

  /** For a token that a service refused, revoked before its time; a newer one stays. */
  forget(token: string): void {
    if (this.#session?.token === token) this.#session = undefined;
  }

  async #authenticate(): Promise<Session> {
    const askedAtMs = performance.now();
    const request = {
      ...SUBJECT,
      url: new URL(`${this.#credentials.authUrl.replace(/\/+$/, '').replace(/\/v3$/, '')}/v3/auth/tokens`),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    };
    const response = await this.#client.post(request, { auth: authOf(this.#credentials) });
    if (response.statusCode === 401 || response.statusCode === 403) {
      discard(response);
      throw new ComputeError('UNAUTHORIZED', 'Keystone refuses the credentials', {
        operation: 'authentication',
        details: { statusCode: response.statusCode },
      });
    }
    if (response.statusCode !== 201) throw statusFault(SUBJECT, response);
    const token = check(tokenText, header(response, 'x-subject-token'));
    const answer = check(answerSchema, await readJson(request, response, MOST_BYTES));
    if (token.problems || answer.problems) throw fault(SUBJECT, 'its answer is not that of Keystone v3');
    const { issued_at, expires_at, catalog } = answer.value.token;
    const lifeMs = Date.parse(expires_at) - Date.parse(issued_at);
    if (!(lifeMs > 0)) throw fault(SUBJECT, 'its token has no time to live');
    const renewAtMs = askedAtMs + lifeMs - Math.min(MARGIN_MS, lifeMs / 2);
    this.#session = { token: token.value, catalog, renewAtMs };
    return this.#session;
  }
}

/** The root of the image API. Throws `IMAGE_DOWNLOAD_FAILED` where the catalog has none. */
export function imageEndpoint(
  catalog: readonly CatalogEntry[],
  choice: Pick<GlanceOptions, 'region' | 'interface'>,
): string {
  const endpoint = serviceEndpoint(catalog, 'image', choice);
  if (endpoint !== undefined) return endpoint;
  const { region, interface: wanted = 'public' } = choice;
  throw new ComputeError(
    'IMAGE_DOWNLOAD_FAILED',
    `Keystone's catalog has no ${wanted} endpoint of type image${region === undefined ? '' : ` in region ${region}`}`,
    { operation: 'authentication' },
  );
}

/** The root of a service's API; undefined where the catalog has none. */
export function serviceEndpoint(
  catalog: readonly CatalogEntry[],
  service: string,
  { region, interface: wanted = 'public' }: Pick<GlanceOptions, 'region' | 'interface'>,
): string | undefined {
  const found = catalog
    .filter(({ type }) => type === service)
    .flatMap(({ endpoints }) => endpoints)
    .find((one) => one.interface === wanted && (region === undefined || region === one.region_id));
  return found && /^https?:\/\//i.test(found.url) && URL.canParse(found.url) ? found.url : undefined;
}

function authOf(credentials: KeystoneCredentials): unknown {
  if (credentials.type === 'application-credential') {
    const { id, secret } = credentials;
    return { identity: { methods: ['application_credential'], application_credential: { id, secret } } };
  }
  const { userId, username, userDomainId, userDomainName, password } = credentials;
  const user = userId === undefined ? named(username, userDomainId, userDomainName) : { id: userId };
  return {
    identity: { methods: ['password'], password: { user: { ...user, password } } },
    ...scopeOf(credentials),
  };
}

/** Without a project the token is that of the user's default project. */
function scopeOf(credentials: KeystonePassword): object {
  const { projectId, projectName, projectDomainId, projectDomainName } = credentials;
  if (projectId !== undefined) return { scope: { project: { id: projectId } } };
  if (projectName === undefined) return {};
  return { scope: { project: named(projectName, projectDomainId, projectDomainName) } };
}

function named(
  name: string | undefined,
  domainId: string | undefined,
  domainName: string | undefined,
): object {
  const domain =
    domainId === undefined && domainName !== undefined ? { name: domainName } : { id: domainId ?? 'default' };
  return { name, domain };
}
