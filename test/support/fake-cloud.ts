// A Keystone v3 and a Glance v2 on one server: what they answer is the test's to choose, what they were asked is kept.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { serve } from '../image/fixtures.js';

export const IMAGE_ID = '3f0c5a7e-1b2d-4e6f-8a9b-0c1d2e3f4a5b';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface FakeCloud {
  readonly url: string;
  readonly authUrl: string;
  readonly requests: readonly string[];
  /** Bodies of POST /v3/auth/tokens. */
  readonly logins: unknown[];
  /** Tokens that came with requests to Glance. */
  readonly seen: (string | undefined)[];
  /** Tokens that Glance takes; Keystone adds those it gives. */
  readonly valid: Set<string>;
  lifeMs: number;
  login: Answer | undefined;
  /** In place of the image's metadata. */
  lookup: Answer | undefined;
}

/** GET /v2/images/{IMAGE_ID} of a small raw image, as Glance answers. */
export function glanceAnswer(more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    id: IMAGE_ID,
    name: 'small',
    status: 'active',
    visibility: 'shared',
    disk_format: 'raw',
    container_format: 'bare',
    size: 1024,
    virtual_size: 1024,
    min_disk: 0,
    min_ram: 0,
    checksum: '0'.repeat(32),
    os_hash_algo: 'sha256',
    os_hash_value: 'a'.repeat(64),
    os_hidden: false,
    owner: null,
    tags: [],
    self: `/v2/images/${IMAGE_ID}`,
    file: `/v2/images/${IMAGE_ID}/file`,
    ...more,
  };
}

export function json(response: ServerResponse, value: unknown, status = 200, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

export async function fakeCloud(): Promise<FakeCloud> {
  const server = await serve((request, response) => {
    if (request.url === '/identity/v3/auth/tokens') void login(request, response);
    else lookup(request, response);
  });
  const cloud: FakeCloud = {
    url: `${server.url}/image`,
    authUrl: `${server.url}/identity`,
    requests: server.requests,
    logins: [],
    seen: [],
    valid: new Set(),
    lifeMs: 3_600_000,
    login: undefined,
    lookup: undefined,
  };

  async function login(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const piece of request) body += String(piece);
    cloud.logins.push(JSON.parse(body));
    if (cloud.login) return cloud.login(request, response);
    const token = `token-${cloud.logins.length}`;
    cloud.valid.add(token);
    // A clock of its own, years behind.
    const issued = Date.UTC(2020, 1, 1);
    const endpoint = (name: string, region: string, url: string) => ({
      interface: name,
      region_id: region,
      url,
    });
    const answer = {
      issued_at: new Date(issued).toISOString(),
      expires_at: new Date(issued + cloud.lifeMs).toISOString(),
      catalog: [
        { type: 'compute', endpoints: [endpoint('public', 'one', `${server.url}/compute`)] },
        {
          type: 'image',
          endpoints: [
            endpoint('internal', 'one', `${server.url}/internal`),
            endpoint('public', 'one', cloud.url),
            endpoint('public', 'two', `${server.url}/two/v2/`),
          ],
        },
      ],
    };
    json(response, { token: answer }, 201, { 'x-subject-token': token });
  }

  function lookup(request: IncomingMessage, response: ServerResponse): void {
    const token = request.headers['x-auth-token'];
    cloud.seen.push(typeof token === 'string' ? token : undefined);
    if (cloud.lookup) cloud.lookup(request, response);
    else if (typeof token === 'string' && cloud.valid.has(token)) json(response, glanceAnswer());
    else response.writeHead(401).end('who are you?');
  }

  return cloud;
}
