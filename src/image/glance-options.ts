// Where Glance is, and how to be let in.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { check, closedEntries, closedObject } from '../driver/schema.js';

interface KeystoneProject {
  /** Keystone's root, with or without `/v3`. */
  readonly authUrl: string;
}

/** Keystone v3, by user and password within a project. Domains default to the one whose id is `default`. */
export interface KeystonePassword extends KeystoneProject {
  readonly type: 'password';
  readonly userId?: string;
  /** In place of `userId`. */
  readonly username?: string;
  readonly userDomainId?: string;
  readonly userDomainName?: string;
  readonly password: string;
  readonly projectId?: string;
  /** In place of `projectId`. */
  readonly projectName?: string;
  readonly projectDomainId?: string;
  readonly projectDomainName?: string;
}

/** Keystone v3, by an application credential, which has its project. */
export interface KeystoneApplicationCredential extends KeystoneProject {
  readonly type: 'application-credential';
  readonly id: string;
  readonly secret: string;
}

export type KeystoneCredentials = KeystonePassword | KeystoneApplicationCredential;

export interface GlanceOptions {
  /**
   * Roots of the image API, with or without `/v2`: the first that answers serves. Default: the one in Keystone's catalog
   * for `region` and `interface`.
   */
  readonly endpoints?: readonly string[];
  /** Default `{ type: 'none' }`. A token that is given as such is never renewed. */
  readonly auth?:
    | { readonly type: 'none' }
    | { readonly type: 'token'; readonly token: string }
    | KeystoneCredentials;
  /** Default: the catalog's first. */
  readonly region?: string;
  /** Default `public`. */
  readonly interface?: 'public' | 'internal' | 'admin';
}

const name = v.pipe(v.string(), v.minLength(1), v.maxLength(255));
const secret = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));

/** What a header can carry: a token that cannot is never sent. */
export const tokenText: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.maxLength(8192),
  v.regex(/^[\x21-\x7e]+$/, 'is not a token'),
);

const rootUrl = v.pipe(
  v.string(),
  v.maxLength(2048),
  v.check(isRoot, 'is not an http or https URL without user, query and fragment'),
);

const optionsSchema: v.GenericSchema<unknown, GlanceOptions> = v.pipe(
  closedObject({
    endpoints: v.exactOptional(v.pipe(v.array(rootUrl), v.minLength(1), v.maxLength(16))),
    auth: v.exactOptional(
      v.variant('type', [
        closedEntries({ type: v.literal('none') }),
        closedEntries({ type: v.literal('token'), token: tokenText }),
        closedEntries({
          type: v.literal('password'),
          authUrl: rootUrl,
          userId: v.exactOptional(name),
          username: v.exactOptional(name),
          userDomainId: v.exactOptional(name),
          userDomainName: v.exactOptional(name),
          password: secret,
          projectId: v.exactOptional(name),
          projectName: v.exactOptional(name),
          projectDomainId: v.exactOptional(name),
          projectDomainName: v.exactOptional(name),
        }),
        closedEntries({
          type: v.literal('application-credential'),
          authUrl: rootUrl,
          id: name,
          secret,
        }),
      ]),
    ),
    region: v.exactOptional(name),
    interface: v.exactOptional(v.picklist(['public', 'internal', 'admin'])),
  }),
  v.check(
    ({ endpoints, auth }) => endpoints !== undefined || (auth !== undefined && 'authUrl' in auth),
    'needs endpoints, or the authUrl of a Keystone whose catalog has one',
  ),
  v.check(
    ({ auth }) => auth?.type !== 'password' || (auth.userId ?? auth.username) !== undefined,
    'auth needs userId or username',
  ),
);

/** Throws `INVALID_ARGUMENT`; values are not repeated, they may be secrets. */
export function parseGlanceOptions(options: unknown): GlanceOptions {
  const checked = check(optionsSchema, options);
  if (!checked.problems) return checked.value;
  const problems = checked.problems.map(({ path, message }) => `${path.join('.') || 'options'}: ${message}`);
  throw new ComputeError('INVALID_ARGUMENT', `options of Glance: ${problems.join('; ')}`, {
    details: { problems },
  });
}

function isRoot(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { username, password, search, hash } = new URL(text);
  return `${username}${password}${search}${hash}` === '';
}
