// Glance behind a Keystone that is made up: credentials, tokens and their end, endpoints, and every way to answer wrongly.
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ComputeError } from '../../src/driver/errors.js';
import type { GlanceOptions } from '../../src/image/glance-options.js';
import { GlanceImageService } from '../../src/image/glance-service.js';
import type { ImageLogger } from '../../src/image/types.js';
import { openCache, read, serve } from '../image/fixtures.js';
import { type Answer, fakeCloud, glanceAnswer, IMAGE_ID, json } from '../support/fake-cloud.js';

const PASSWORD = 'pass-PLANTED-word';
const SECRET = 'credential-PLANTED-secret';
const TOKEN = 'token-PLANTED';

function open(options: GlanceOptions): GlanceImageService {
  const service = new GlanceImageService(options, { retryPausesMs: [1, 1, 1] });
  onTestFinished(() => service.close());
  return service;
}

function password(authUrl: string): NonNullable<GlanceOptions['auth']> {
  return { type: 'password', authUrl, username: 'nova', password: PASSWORD, projectName: 'service' };
}

async function failure(call: Promise<unknown>): Promise<ComputeError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!ComputeError.is(error)) throw new Error(`no ComputeError: ${inspect(error)}`);
  return error;
}

describe('credentials', () => {
  it('by password are sent with their project, and the catalog names the endpoint', async () => {
    const cloud = await fakeCloud();
    const service = open({ auth: password(`${cloud.authUrl}/v3/`) });
    expect(await service.getImage(IMAGE_ID)).toMatchObject({ id: IMAGE_ID, sizeBytes: 1024 });
    expect(cloud.logins).toEqual([
      {
        auth: {
          identity: {
            methods: ['password'],
            password: { user: { name: 'nova', domain: { id: 'default' }, password: PASSWORD } },
          },
          scope: { project: { name: 'service', domain: { id: 'default' } } },
        },
      },
    ]);
    expect(cloud.requests).toEqual(['POST /identity/v3/auth/tokens', `GET /image/v2/images/${IMAGE_ID}`]);
  });

  it('by application credential are sent without a scope; region and interface choose the endpoint', async () => {
    const cloud = await fakeCloud();
    const auth = {
      type: 'application-credential',
      authUrl: cloud.authUrl,
      id: 'abc',
      secret: SECRET,
    } as const;
    await open({ auth, region: 'two' }).getImage(IMAGE_ID);
    await open({ auth, interface: 'internal' }).getImage(IMAGE_ID);
    expect(cloud.logins[0]).toEqual({
      auth: {
        identity: {
          methods: ['application_credential'],
          application_credential: { id: 'abc', secret: SECRET },
        },
      },
    });
    expect(cloud.requests.filter((one) => one.startsWith('GET'))).toEqual([
      `GET /two/v2/images/${IMAGE_ID}`,
      `GET /internal/v2/images/${IMAGE_ID}`,
    ]);
    const error = await failure(open({ auth, region: 'three' }).getImage(IMAGE_ID));
    expect(error).toMatchObject({ code: 'IMAGE_DOWNLOAD_FAILED', retryable: false });
  });

  it('give one token to all who ask, whatever clock Keystone has', async () => {
    const cloud = await fakeCloud();
    const service = open({ auth: password(cloud.authUrl) });
    await Promise.all(Array.from({ length: 8 }, () => service.getImage(IMAGE_ID)));
    await service.getImage(IMAGE_ID);
    expect(cloud.logins).toHaveLength(1);
    expect(new Set(cloud.seen)).toEqual(new Set(['token-1']));
  });

  it('are used again before the token ends', async () => {
    const cloud = await fakeCloud();
    cloud.lifeMs = 400;
    const service = open({ auth: password(cloud.authUrl) });
    await service.getImage(IMAGE_ID);
    await new Promise((resolve) => setTimeout(resolve, 250));
    await service.getImage(IMAGE_ID);
    expect(cloud.seen).toEqual(['token-1', 'token-2']);
  });

  it('are used once more when Glance refuses the token, and no more than that', async () => {
    const cloud = await fakeCloud();
    const service = open({ auth: password(cloud.authUrl) });
    await service.getImage(IMAGE_ID);
    cloud.valid.clear();
    await service.getImage(IMAGE_ID);
    expect(cloud.seen).toEqual(['token-1', 'token-1', 'token-2']);
    cloud.lookup = (_request, response) => response.writeHead(401).end();
    expect(await failure(service.getImage(IMAGE_ID))).toMatchObject({
      code: 'UNAUTHORIZED',
      retryable: false,
    });
    expect(cloud.logins).toHaveLength(3);
  });

  it('that Keystone refuses are UNAUTHORIZED; its outage passes', async () => {
    const cloud = await fakeCloud();
    const service = open({ auth: password(cloud.authUrl) });
    cloud.login = (_request, response) => json(response, { error: PASSWORD }, 401);
    expect(await failure(service.getImage(IMAGE_ID))).toMatchObject({ code: 'UNAUTHORIZED' });
    cloud.login = (_request, response) => response.writeHead(503).end();
    expect(await failure(service.getImage(IMAGE_ID))).toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: true,
    });
    cloud.login = undefined;
    expect(await service.getImage(IMAGE_ID)).toMatchObject({ id: IMAGE_ID });
  });

  it('are not posted to where Keystone redirects', async () => {
    const cloud = await fakeCloud();
    const other = await serve((_request, response) => response.end());
    cloud.login = (_request, response) => response.writeHead(307, { location: `${other.url}/v3` }).end();
    const error = await failure(open({ auth: password(cloud.authUrl) }).getImage(IMAGE_ID));
    expect(error).toMatchObject({ code: 'IMAGE_DOWNLOAD_FAILED', retryable: false });
    expect(other.requests).toEqual([]);
  });

  it.each([
    { issued_at: 'now', expires_at: 'later' },
    { issued_at: '2020-01-01T01:00:00Z', expires_at: '2020-01-01T00:00:00Z' },
    { issued_at: '2020-01-01T01:00:00Z' },
    { issued_at: '2020-01-01T01:00:00Z', expires_at: '2020-01-01T02:00:00Z', catalog: 'none' },
  ])('get no token from an answer like %j', async (token) => {
    const cloud = await fakeCloud();
    cloud.login = (_request, response) => json(response, { token }, 201, { 'x-subject-token': 'x' });
    const error = await failure(open({ auth: password(cloud.authUrl) }).getImage(IMAGE_ID));
    expect(error).toMatchObject({ code: 'IMAGE_DOWNLOAD_FAILED', retryable: false });
  });
});

describe('an endpoint', () => {
  it('that is down, or in trouble, leaves the request to the next one', async () => {
    const cloud = await fakeCloud();
    cloud.valid.add(TOKEN);
    const ill = await serve((_request, response) => response.writeHead(502).end());
    const service = open({
      endpoints: ['http://127.0.0.1:1', ill.url, `${cloud.url}/v2/`],
      auth: { type: 'token', token: TOKEN },
    });
    expect(await service.getImage(IMAGE_ID)).toMatchObject({ id: IMAGE_ID });
    expect(ill.requests).toHaveLength(1);
  });

  it('elsewhere that Glance redirects to is given no token', async () => {
    const cloud = await fakeCloud();
    const tokens: unknown[] = [];
    const other = await serve((request, response) => {
      tokens.push(request.headers['x-auth-token']);
      json(response, glanceAnswer());
    });
    cloud.lookup = (_request, response) => response.writeHead(302, { location: `${other.url}/a` }).end();
    const options: GlanceOptions = { endpoints: [cloud.url], auth: { type: 'token', token: TOKEN } };
    expect(await failure(open(options).getImage(IMAGE_ID))).toMatchObject({ code: 'IMAGE_DOWNLOAD_FAILED' });
    expect(tokens).toEqual([]);
    const service = new GlanceImageService(options, { allowedRedirectHosts: [new URL(other.url).host] });
    onTestFinished(() => service.close());
    await service.getImage(IMAGE_ID);
    expect(tokens).toEqual([undefined]);
  });
});

describe('metadata', () => {
  const many = Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`hw_${i}`, 'x']));
  const answers: readonly (readonly [string, Answer, object])[] = [
    ['of another image', with_({ id: IMAGE_ID.replace('3', '4') }), {}],
    ['without a status', with_({ status: undefined }), {}],
    ['of a negative size', with_({ size: -1 }), {}],
    ['of a size that is no number', with_({ size: '1024' }), {}],
    ['of a size beyond exact numbers', with_({ size: 2 ** 53 }), {}],
    ['that is a list', (_request, response) => json(response, []), {}],
    ['that is null', (_request, response) => json(response, null), {}],
    ['that is no JSON', (_request, response) => response.end('<html>'), {}],
    ['that is very deep', (_request, response) => response.end('['.repeat(500_000)), {}],
    ['that is very long', (_request, response) => response.end(`{"a":"${'x'.repeat(2 ** 21)}"}`), {}],
    ['that is compressed, unasked', (_request, response) => response.end(Buffer.from([31, 139, 8, 0])), {}],
    ['that never ends', endless, {}],
    ['with headers that never end', endlessHeaders, { retryable: true }],
    ['of a server error', (_request, response) => response.writeHead(500).end(), { retryable: true }],
    ['of a broken connection', (_request, response) => response.destroy(), { retryable: true }],
    ['of a deleted image', with_({ status: 'deleted' }), { code: 'IMAGE_NOT_FOUND' }],
    ['of an image that is uploaded', with_({ status: 'saving' }), { retryable: true }],
    ['of an unheard status', with_({ status: 'x'.repeat(200) }), {}],
    ['of no disk format', with_({ disk_format: null }), { code: 'IMAGE_UNACCEPTABLE' }],
    ['of a format of its own', with_({ disk_format: 'word' }), { code: 'IMAGE_UNACCEPTABLE' }],
    ['of a container', with_({ container_format: 'ova' }), { code: 'IMAGE_UNACCEPTABLE' }],
    ['with a checksum that is none', with_({ os_hash_value: 'zz' }), { code: 'IMAGE_UNACCEPTABLE' }],
    ['with a name of absurd length', with_({ name: 'x'.repeat(256) }), { code: 'IMAGE_UNACCEPTABLE' }],
    ['with a long property', with_({ os_distro: 'x'.repeat(4097) }), { code: 'IMAGE_UNACCEPTABLE' }],
    [
      'with a long name of a property',
      with_({ [`hw_${'x'.repeat(300)}`]: 'x' }),
      { code: 'IMAGE_UNACCEPTABLE' },
    ],
    ['with a property that is no text', with_({ hw_disk_bus: { a: 1 } }), { code: 'IMAGE_UNACCEPTABLE' }],
    ['with a NUL in a property', with_({ os_distro: 'a\0b' }), { code: 'IMAGE_UNACCEPTABLE' }],
    ['with too many properties', with_(many), { code: 'IMAGE_UNACCEPTABLE' }],
  ];
  it.each(answers)('%s is refused', async (_name, lookup, expected) => {
    const cloud = await fakeCloud();
    cloud.lookup = lookup;
    const error = await failure(open({ endpoints: [cloud.url] }).getImage(IMAGE_ID));
    expect(error).toMatchObject({ code: 'IMAGE_DOWNLOAD_FAILED', retryable: false, ...expected });
    expect(error.message.length).toBeLessThan(1500);
    expect(cloud.seen).toEqual([undefined]);
  });

  it('keeps what an instance is made by, prefers the strong hash, and asks room for the disk in the image', async () => {
    const cloud = await fakeCloud();
    const service = open({ endpoints: [cloud.url] });
    const image = async (more: Readonly<Record<string, unknown>>) => {
      cloud.lookup = with_(more);
      return await service.getImage(IMAGE_ID);
    };
    expect(
      await image({
        name: null,
        virtual_size: 2 ** 30 + 1,
        min_disk: 1,
        hw_disk_bus: 'scsi',
        architecture: 'x86_64',
        os_glance_failed_import: '',
        stores: 'file',
        __proto__: { hw_machine_type: 'pc' },
      }),
    ).toEqual({
      id: IMAGE_ID,
      diskFormat: 'raw',
      source: { type: 'glance' },
      sizeBytes: 1024,
      minDiskGb: 2,
      minRamMb: 0,
      checksum: { algorithm: 'sha256', value: 'a'.repeat(64) },
      properties: { hw_disk_bus: 'scsi', architecture: 'x86_64' },
    });
    const md5 = { algorithm: 'md5', value: '0'.repeat(32) };
    expect((await image({ os_hash_algo: null, os_hash_value: null })).checksum).toEqual(md5);
    expect((await image({ os_hash_algo: 'blake2b' })).checksum).toEqual(md5);
    expect((await image({ os_hash_algo: null, checksum: null })).checksum).toBeUndefined();
  });

  it.each([
    '',
    '..',
    '../../v3/users',
    `${IMAGE_ID}/file`,
    `${IMAGE_ID}?a`,
    `${IMAGE_ID}\r\nx: y`,
    'x'.repeat(36),
  ])('is not asked for by the id %j', async (id) => {
    const cloud = await fakeCloud();
    expect(await failure(open({ endpoints: [cloud.url] }).getImage(id))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    expect(cloud.requests).toEqual([]);
  });

  it('is waited for no longer than told', async () => {
    const cloud = await fakeCloud();
    cloud.lookup = () => undefined;
    const service = open({ endpoints: [cloud.url] });
    expect(await failure(service.getImage(IMAGE_ID, { timeoutMs: 50 }))).toMatchObject({ code: 'TIMEOUT' });
    const signal = AbortSignal.timeout(50);
    expect(await failure(service.getImage(IMAGE_ID, { signal }))).toMatchObject({ code: 'ABORTED' });
    const pending = failure(service.getImage(IMAGE_ID));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await service.close();
    expect(await pending).toMatchObject({ code: 'CLOSED' });
  });
});

describe('options of Glance', () => {
  it.each<[string, unknown]>([
    ['without an endpoint', {}],
    ['with a token and no endpoint', { auth: { type: 'token', token: TOKEN } }],
    [
      'with a token that no header can hold',
      { endpoints: ['http://a'], auth: { type: 'token', token: `${TOKEN}\n` } },
    ],
    ['with a secret in the URL', { endpoints: [`http://user:${PASSWORD}@a`] }],
    ['with a query', { endpoints: [`http://a/?token=${TOKEN}`] }],
    ['of another scheme', { endpoints: ['file:///etc'] }],
    ['with a user that has no name', { auth: { type: 'password', authUrl: 'http://a', password: PASSWORD } }],
    ['with an unknown key', { endpoints: ['http://a'], [PASSWORD.slice(0, 4)]: PASSWORD }],
    ['of an unknown kind', { endpoints: ['http://a'], auth: { type: 'kerberos', password: PASSWORD } }],
  ])('%s are refused, and not repeated', (_name, glance) => {
    const wrong = (): unknown => openCache({ glance: glance as GlanceOptions });
    expect(wrong).toThrowError(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    expect(wrong).not.toThrowError(/PLANTED/);
  });
});

describe('secrets', () => {
  it('are in no message, log line, record, inspection or JSON', async () => {
    const cloud = await fakeCloud();
    const told: unknown[] = [];
    const log = (...words: unknown[]): void => void told.push(words);
    const logger: ImageLogger = { debug: log, info: log, warn: log, error: log };
    const auth = { ...password(cloud.authUrl), password: PASSWORD };
    const service = open({ auth });
    const http = { retryPausesMs: [1], headersTimeoutMs: 500 };
    const { cache } = openCache({ glance: { auth }, http, logger });
    onTestFinished(() => cache.close());
    told.push(service, cache);
    const source = { type: 'glance' } as const;
    const launch = () =>
      cache.ensureBase({ id: IMAGE_ID, diskFormat: 'raw', source, properties: {} }, { flavorRootBytes: 0 });
    const echo: Answer = (request, response) => {
      const words = `${request.headers['x-auth-token']} ${PASSWORD}`;
      response.socket?.end(`HTTP/1.1 200 OK\r\ncontent-length: ${words}\r\n${words}\r\n\r\n${words}`);
    };
    const logIn: Answer = (_request, response) => {
      const life = { issued_at: '2020-01-01T00:00:00Z', expires_at: '2020-01-02T00:00:00Z' };
      const catalog = [{ type: 'image', endpoints: [{ interface: 'public', url: cloud.url }] }];
      json(response, { token: { ...life, catalog } }, 201, { 'x-subject-token': TOKEN });
    };
    for (const login of [echo, logIn]) {
      cloud.login = login;
      const answers: readonly Answer[] = [
        echo,
        (request, response) => response.end(`no JSON: ${request.headers['x-auth-token']}`),
        (_request, response) => json(response, { error: TOKEN }, 401),
        (_request, response) => json(response, { error: TOKEN }, 500),
        (_request, response) => response.writeHead(302, { location: `http://a/?t=${TOKEN}` }).end(),
        with_({ status: `${TOKEN.slice(0, 5)}` }),
      ];
      for (const lookup of answers) {
        cloud.lookup = lookup;
        told.push(await failure(service.getImage(IMAGE_ID)), await failure(launch()));
      }
    }
    const url = `http://127.0.0.1:1/image?token=${TOKEN}#${SECRET}`;
    const image = { id: 'x', diskFormat: 'raw', source: { type: 'http', url }, properties: {} } as const;
    told.push(await failure(cache.ensureBase(image, { flavorRootBytes: 0 })));
    const good = await serve((_request, response) => response.end(Buffer.alloc(1024)));
    const base = await cache.ensureBase(
      { ...image, source: { type: 'http', url: `${good.url}/a?token=${TOKEN}` } },
      { flavorRootBytes: 0 },
    );
    told.push(read(`${base.path}.json`).toString());
    const shown = inspect(told, { depth: Number.POSITIVE_INFINITY, showHidden: true, maxStringLength: null });
    const printed = JSON.stringify(told) + told.map(String).join();
    expect(shown.length).toBeGreaterThan(10_000);
    expect(shown).not.toContain('PLANTED');
    expect(printed).not.toContain('PLANTED');
  });
});

function with_(more: Readonly<Record<string, unknown>>): Answer {
  return (_request, response) => json(response, glanceAnswer(more));
}

function endless(_request: unknown, response: Parameters<Answer>[1]): void {
  const more = (): void => {
    if (!response.destroyed) response.write(' '.repeat(65536), () => setImmediate(more));
  };
  more();
}

function endlessHeaders(_request: unknown, response: Parameters<Answer>[1]): void {
  response.socket?.write(`HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(50_000)}`);
}

describe('lists of images', () => {
  const properties = { image_type: 'backup' };
  const list = (lookup: Answer) => async () => {
    const cloud = await fakeCloud();
    cloud.lookup = lookup;
    return await open({ endpoints: [cloud.url] }).listImages(properties);
  };

  it('leave out what does not have the properties, whatever Glance makes of the filter', async () => {
    const images = [
      { id: IMAGE_ID, ...properties },
      { id: 'other', image_type: 'snapshot' },
    ];
    expect(await list((_request, response) => json(response, { images }))()).toEqual([IMAGE_ID]);
  });

  it.each<[string, Answer]>([
    ['no list', (_request, response) => json(response, { images: 'none' })],
    ['no JSON', (_request, response) => void response.end('<html>')],
    ['a failure', (_request, response) => json(response, {}, 503)],
  ])('that are %s are IMAGE_DOWNLOAD_FAILED', async (_what, answer) => {
    expect(await failure(list(answer)())).toMatchObject({ code: 'IMAGE_DOWNLOAD_FAILED' });
  });

  it('that do not end are cut off by their deadline', async () => {
    const cloud = await fakeCloud();
    cloud.lookup = (_request, response) =>
      json(response, { images: [{ id: IMAGE_ID }], next: '/v2/images?marker=x' });
    const endless = open({ endpoints: [cloud.url] }).listImages(properties, { timeoutMs: 300 });
    expect(await failure(endless)).toMatchObject({ code: 'TIMEOUT' });
  });
});
