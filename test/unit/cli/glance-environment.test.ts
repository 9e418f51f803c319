// Glance from the variables of OpenStack's command line.
import { expect, it } from 'vitest';
import { glanceFromEnvironment } from '../../../src/cli/glance-environment.js';
import { parseGlanceOptions } from '../../../src/image/glance-options.js';

it('takes password, application credential, token or none, and leaves out what is empty', () => {
  const OS_AUTH_URL = 'https://cloud.example.org/v3';
  const authUrl = OS_AUTH_URL;
  const cases = [
    [
      {
        OS_AUTH_URL,
        OS_USERNAME: 'a',
        OS_PASSWORD: 'b',
        OS_PROJECT_NAME: 'c',
        OS_USER_DOMAIN_NAME: 'D',
        OS_REGION_NAME: '',
      },
      {
        auth: {
          type: 'password',
          authUrl,
          username: 'a',
          password: 'b',
          projectName: 'c',
          userDomainName: 'D',
        },
      },
    ],
    [
      {
        OS_AUTH_URL,
        OS_APPLICATION_CREDENTIAL_ID: 'a',
        OS_APPLICATION_CREDENTIAL_SECRET: 'b',
        OS_INTERFACE: 'internal',
      },
      { auth: { type: 'application-credential', authUrl, id: 'a', secret: 'b' }, interface: 'internal' },
    ],
    [
      { OS_TOKEN: 'a', OS_IMAGE_ENDPOINT_OVERRIDE: 'http://glance:9292' },
      { auth: { type: 'token', token: 'a' }, endpoints: ['http://glance:9292'] },
    ],
    [{ OS_IMAGE_ENDPOINT_OVERRIDE: 'http://glance:9292' }, { endpoints: ['http://glance:9292'] }],
  ] as const;
  for (const [environment, options] of cases) {
    const { glance } = glanceFromEnvironment(environment);
    expect(glance).toEqual(options);
    expect(parseGlanceOptions(glance)).toEqual(options);
  }
  expect(glanceFromEnvironment({ OS_AUTH_URL, OS_CACERT: '/ca.pem' }).http).toEqual({ caFile: '/ca.pem' });
  expect(() => glanceFromEnvironment({})).toThrowError(/OS_AUTH_URL/);
});
