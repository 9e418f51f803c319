// How a service of OpenStack is reached: by Keystone's tokens and catalog, which come and go.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { ServiceTransport } from '../../src/node/service-transport.js';
import { serve } from '../image/fixtures.js';

const { signal } = new AbortController();
const NETWORK = { name: 'Neutron', type: 'network', failure: 'NEUTRON_FAILED' } as const;
const PASSWORD = { type: 'password', username: 'nova', password: 's3cret' } as const;

interface Cloud {
  readonly url: string;
  readonly tokens: string[];
  /** In place of Keystone's answer. */
  down: number | undefined;
}

async function cloud(): Promise<Cloud> {
  const tokens: string[] = [];
  const server = await serve((request, response) => {
    if (request.url?.endsWith('/auth/tokens')) keystone(response);
    else neutron(request, response);
  });
  const here: Cloud = { url: server.url, tokens, down: undefined };

  function keystone(response: ServerResponse): void {
    if (here.down !== undefined) return void response.writeHead(here.down).end();
    tokens.push(`token-${tokens.length + 1}`);
    const endpoints = [{ interface: 'public', region_id: 'one', url: `${server.url}/neutron/` }];
    const token = {
      issued_at: '2026-01-01T00:00:00Z',
      expires_at: '2026-01-01T01:00:00Z',
      catalog: [{ type: 'network', endpoints }],
    };
    response.writeHead(201, { 'x-subject-token': tokens.at(-1) }).end(JSON.stringify({ token }));
  }

  function neutron({ headers, url }: IncomingMessage, response: ServerResponse): void {
    const isValid = headers['x-auth-token'] === tokens.at(-1);
    response.writeHead(isValid ? 200 : 401).end(JSON.stringify({ url }));
  }

  return here;
}

it('takes the endpoint of the catalog, and a new token for one that was revoked', async () => {
  const here = await cloud();
  const transport = new ServiceTransport(NETWORK, { auth: { ...PASSWORD, authUrl: here.url } });
  const ask = async (): Promise<unknown> =>
    (await transport.request({ method: 'GET', path: '/v2.0/ports' }, signal)).body;
  expect(await ask()).toEqual({ url: '/neutron/v2.0/ports' });
  here.tokens.push('another');
  expect(await ask()).toEqual({ url: '/neutron/v2.0/ports' });
  expect(here.tokens).toHaveLength(3);
  await transport.close();
});

it('a Keystone that is away is the failure of the service, and may come back', async () => {
  const here = await cloud();
  here.down = 503;
  const transport = new ServiceTransport(NETWORK, { auth: { ...PASSWORD, authUrl: here.url } });
  const asking = (): Promise<unknown> => transport.request({ method: 'GET', path: '/' }, signal);
  await expect(asking()).rejects.toMatchObject({ code: 'NEUTRON_FAILED', retryable: true });
  here.down = 401;
  await expect(asking()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  here.down = undefined;
  await expect(asking()).resolves.toMatchObject({ status: 200 });
  await transport.close();
});
