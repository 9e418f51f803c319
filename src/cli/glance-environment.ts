// Glance as the variables of OpenStack's own command line name it; secrets come by no flag, which all users could read.
import type { GlanceOptions, HttpSourceOptions } from '../index.js';
import { UsageError } from './command.js';

type Environment = Readonly<Record<string, string | undefined>>;

export interface GlanceEnvironment {
  readonly glance: GlanceOptions;
  readonly http: HttpSourceOptions;
}

/** Throws a usage error where it names no Glance; what it names is checked by who uses it. */
export function glanceFromEnvironment(environment: Environment): GlanceEnvironment {
  const { OS_IMAGE_ENDPOINT_OVERRIDE: endpoint, OS_AUTH_URL: authUrl, OS_CACERT: caFile } = environment;
  if (endpoint === undefined && authUrl === undefined) {
    throw new UsageError(
      'an image in Glance needs OS_AUTH_URL or OS_IMAGE_ENDPOINT_OVERRIDE in the environment',
    );
  }
  const auth = authFrom(environment, authUrl);
  const options = {
    endpoints: endpoint === undefined ? undefined : [endpoint],
    auth,
    region: environment['OS_REGION_NAME'],
    interface: environment['OS_INTERFACE'],
  };
  return { glance: present(options) as GlanceOptions, http: caFile === undefined ? {} : { caFile } };
}

function authFrom(environment: Environment, authUrl: string | undefined): object | undefined {
  const of = (name: string): string | undefined => environment[`OS_${name}`];
  if (of('TOKEN') !== undefined) return { type: 'token', token: of('TOKEN') };
  if (authUrl === undefined) return undefined;
  const id = of('APPLICATION_CREDENTIAL_ID');
  if (id !== undefined)
    return present({
      type: 'application-credential',
      authUrl,
      id,
      secret: of('APPLICATION_CREDENTIAL_SECRET'),
    });
  return present({
    type: 'password',
    authUrl,
    userId: of('USER_ID'),
    username: of('USERNAME'),
    userDomainId: of('USER_DOMAIN_ID'),
    userDomainName: of('USER_DOMAIN_NAME'),
    password: of('PASSWORD'),
    projectId: of('PROJECT_ID'),
    projectName: of('PROJECT_NAME'),
    projectDomainId: of('PROJECT_DOMAIN_ID'),
    projectDomainName: of('PROJECT_DOMAIN_NAME'),
  });
}

/** An empty variable counts as none, as in OpenStack's own tools. */
function present(options: object): object {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined && value !== ''),
  );
}
