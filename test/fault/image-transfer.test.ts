// Downloads that break, crawl or are sent elsewhere: what was received is kept where it may be, and never mixed.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { HttpSourceOptions } from '../../src/image/types.js';
import { digest, httpImage, MIB, noise, openCache, read, scratch, serve } from '../image/fixtures.js';

const ANY_SIZE = { flavorRootBytes: 0 };
const BYTES = noise(8 * MIB, 31);
const OTHER = noise(8 * MIB, 32);
const CHECKSUM = { algorithm: 'sha256', value: digest(BYTES) } as const;

function open(http: HttpSourceOptions = {}): ReturnType<typeof openCache> {
  return openCache({ http: { retryPausesMs: [1, 1, 1], ...http } });
}

/** Sends that much and breaks the connection, once it is on its way. */
function breakAfter(response: ServerResponse, bytes: Buffer): void {
  response.write(bytes, () => setTimeout(() => response.destroy(), 20));
}

interface Whole {
  readonly bytes?: Buffer;
  readonly etag?: string | undefined;
}

function whole(response: ServerResponse, { bytes = BYTES, etag }: Whole = {}): ServerResponse {
  return response.writeHead(200, { 'content-length': bytes.length, ...(etag && { etag }) });
}

function part(request: IncomingMessage, response: ServerResponse, headers = {}): Buffer {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]);
  response.writeHead(206, {
    'content-range': `bytes ${from}-${BYTES.length - 1}/${BYTES.length}`,
    'content-length': BYTES.length - from,
    ...headers,
  });
  return BYTES.subarray(from);
}

describe('a download whose connection broke', () => {
  it.each([
    ['the server names its bytes by an ETag', '"one"', undefined],
    ['the image declares a checksum', undefined, CHECKSUM],
  ])('goes on behind the last byte where %s', async (_name, etag, checksum) => {
    const ranges: unknown[] = [];
    const server = await serve((request, response) => {
      ranges.push(request.headers.range, request.headers['if-range']);
      if (request.headers.range === undefined)
        breakAfter(whole(response, { etag }), BYTES.subarray(0, 3 * MIB));
      else response.end(part(request, response));
    });
    const { cache } = open();
    const image = httpImage(server.url, 'raw', checksum && { checksum });
    const base = await cache.ensureBase(image, ANY_SIZE);
    expect(read(base.path).equals(BYTES)).toBe(true);
    expect(ranges).toEqual([undefined, undefined, `bytes=${3 * MIB}-`, etag]);
  });

  it.each([undefined, 'W/"weak"'])(
    'begins again where nothing would tell of a change (ETag %s)',
    async (etag) => {
      const server = await serve((request, response) => {
        expect(request.headers.range).toBeUndefined();
        if (server.requests.length === 1) breakAfter(whole(response, { etag }), OTHER.subarray(0, 3 * MIB));
        else response.end(BYTES);
      });
      const base = await open().cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE);
      expect(read(base.path).equals(BYTES)).toBe(true);
    },
  );

  const refusals: readonly (readonly [
    string,
    (request: IncomingMessage, response: ServerResponse) => void,
  ])[] = [
    ['takes no ranges', (_request, response) => whole(response, { etag: '"two"' }).end(BYTES)],
    [
      'sends another range',
      (request, response) =>
        response.end(
          part(request, response, { 'content-range': `bytes 0-${BYTES.length - 1}/${BYTES.length}` }),
        ),
    ],
    [
      'sends the end of a file of another size',
      (request, response) =>
        response.end(
          part(request, response, { 'content-range': `bytes ${3 * MIB}-${9 * MIB - 1}/${9 * MIB}` }),
        ),
    ],
    [
      'sends the end of another file',
      (request, response) => response.end(part(request, response, { etag: '"two"' })),
    ],
    ['sends a part that it does not name', (_request, response) => response.writeHead(206).end(BYTES)],
    ['has nothing there', (_request, response) => response.writeHead(416).end()],
  ];
  it.each(refusals)('begins again where the server %s', async (_name, answer) => {
    const server = await serve((request, response) => {
      if (server.requests.length === 1)
        breakAfter(whole(response, { etag: '"one"' }), OTHER.subarray(0, 3 * MIB));
      else if (request.headers.range !== undefined) answer(request, response);
      else whole(response, { etag: '"two"' }).end(BYTES);
    });
    const { cache, temporaries } = open();
    const base = await cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE);
    expect(read(base.path).equals(BYTES)).toBe(true);
    expect(server.requests.length).toBeLessThanOrEqual(3);
    expect(temporaries()).toEqual([]);
  });

  it('goes on through any number of breaks that each bring it further', async () => {
    const server = await serve((request, response) => {
      const resumed = request.headers.range !== undefined;
      const rest = resumed ? part(request, response) : BYTES;
      if (!resumed) whole(response, { etag: '"1"' });
      if (rest.length > MIB) breakAfter(response, rest.subarray(0, MIB));
      else response.end(rest);
    });
    const base = await open().cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE);
    expect(read(base.path).equals(BYTES)).toBe(true);
    expect(server.requests).toHaveLength(8);
  });

  it('outlives a server that is restarted, and gives up on one that stays away', async () => {
    const failing = async (failures: number): Promise<unknown> => {
      const server = await serve((request, response) => {
        if (server.requests.length === 1)
          breakAfter(whole(response, { etag: '"1"' }), BYTES.subarray(0, 3 * MIB));
        else if (server.requests.length <= 1 + failures) response.writeHead(503).end();
        else response.end(part(request, response));
      });
      return await open()
        .cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE)
        .catch((e: unknown) => e);
    };
    expect(await failing(2)).toMatchObject({ how: 'fetched' });
    expect(await failing(9)).toMatchObject({ code: 'IMAGE_DOWNLOAD_FAILED', retryable: true });
  });
});

describe('a download that crawls', () => {
  const rate = { leastBytesPerSecond: MIB, rateWindowMs: 60 };
  const crawl = (response: ServerResponse): void => {
    const timer = setInterval(() => response.write(Buffer.alloc(1024)), 10);
    response.on('close', () => clearInterval(timer));
  };

  it('is given up, retryable, after each try had its window', async () => {
    const server = await serve((_request, response) => crawl(whole(response)));
    const { cache, temporaries } = open(rate);
    await expect(cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: true,
    });
    expect(server.requests).toHaveLength(4);
    expect(temporaries()).toEqual([]);
  });

  it('goes on over a connection that does not', async () => {
    const server = await serve((request, response) => {
      if (request.headers.range === undefined)
        crawl(whole(response, { etag: '"1"', bytes: Buffer.alloc(BYTES.length) }));
      else {
        const from = Number(/\d+/.exec(request.headers.range)?.[0]);
        part(request, response);
        response.end(Buffer.alloc(BYTES.length - from));
      }
    });
    const base = await open(rate).cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE);
    expect(read(base.path).equals(Buffer.alloc(BYTES.length))).toBe(true);
    expect(server.requests).toHaveLength(2);
  });
});

describe('a server', () => {
  it('may redirect to a host that is listed, and to no other', async () => {
    const other = await serve((_request, response) => response.end(BYTES));
    const server = await serve((_request, response) =>
      response.writeHead(302, { location: `${other.url}/a` }).end(),
    );
    const { host } = new URL(other.url);
    const { cache } = open({ allowedRedirectHosts: [host] });
    expect((await cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE)).how).toBe('fetched');
    const elsewhere = open({ allowedRedirectHosts: ['127.0.0.1', `${host}0`] });
    await expect(elsewhere.cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
    });
    expect(other.requests).toHaveLength(1);
  });

  it('is asked for many images over one connection, until the cache is closed', async () => {
    const sockets = new Set<Socket>();
    const server = await serve((request, response) => {
      sockets.add(request.socket);
      response.end(noise(MIB));
    });
    const { cache } = open();
    for (const name of ['a', 'b', 'c'])
      await cache.ensureBase(httpImage(`${server.url}/${name}`, 'raw'), ANY_SIZE);
    expect(sockets.size).toBe(1);
    const [socket] = sockets;
    const closed = new Promise((resolve) => socket?.once('close', resolve));
    await cache.close();
    await closed;
    await expect(cache.ensureBase(httpImage(`${server.url}/d`, 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'CLOSED',
    });
  });

  it('of TLS must show a certificate that is trusted', async () => {
    const directory = scratch();
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const words = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test';
    execFileSync(
      'openssl',
      ['req', ...words.split(' '), '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
      { stdio: 'ignore' },
    );
    let requests = 0;
    const server = createServer(
      { key: readFileSync(key), cert: readFileSync(cert) },
      (_request, response) => {
        requests += 1;
        response.end(BYTES);
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    const image = httpImage(`https://127.0.0.1:${(server.address() as AddressInfo).port}/a`, 'raw');
    await expect(open().cache.ensureBase(image, ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: false,
    });
    expect(requests).toBe(0);
    expect((await open({ caFile: cert }).cache.ensureBase(image, ANY_SIZE)).how).toBe('fetched');
    await expect(
      open({ caFile: join(directory, 'none') }).cache.ensureBase(image, ANY_SIZE),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
