// Every way in which an image server can be wrong: one clean error, the cache and its directory as before.
import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { ImageMeta } from '../../src/driver/model.js';
import { digest, diskBytes, httpImage, MIB, noise, openCache, serve } from '../image/fixtures.js';

const ANY_SIZE = { flavorRootBytes: 0 };
const GOOD = diskBytes();
const AT_ONCE = { retryPausesMs: [1, 1, 1] };

interface Fault {
  readonly name: string;
  readonly answer: (response: ServerResponse, attempt: number) => void;
  readonly image?: Partial<ImageMeta>;
  readonly code: string;
  /** How often the server is asked. */
  readonly attempts: number;
  readonly http?: { readonly idleTimeoutMs: number; readonly headersTimeoutMs: number };
}

const quick = { idleTimeoutMs: 200, headersTimeoutMs: 200 };

const faults: readonly Fault[] = [
  {
    name: 'it does not exist',
    answer: (response) => response.writeHead(404).end(),
    code: 'IMAGE_NOT_FOUND',
    attempts: 1,
  },
  {
    name: 'it is forbidden',
    answer: (response) => response.writeHead(403).end(),
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 1,
  },
  {
    name: 'a part of it comes with status 206',
    answer: (response) => response.writeHead(206).end(GOOD),
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 1,
  },
  {
    name: 'a web page comes with status 200',
    answer: (response) =>
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>'),
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 1,
  },
  {
    name: 'it comes compressed, unasked',
    answer: (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(GOOD),
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 1,
  },
  {
    name: 'it has another length than declared',
    answer: (response) => response.writeHead(200, { 'content-length': GOOD.length }).end(GOOD),
    image: { sizeBytes: GOOD.length + 1 },
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 1,
  },
  {
    name: 'it is shorter than declared, its length not announced',
    answer: (response) => {
      response.write(GOOD.subarray(0, MIB));
      response.end();
    },
    image: { sizeBytes: GOOD.length },
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 4,
  },
  {
    name: 'the connection ends in the middle',
    answer: (response) => {
      response.writeHead(200, { 'content-length': GOOD.length });
      response.write(GOOD.subarray(0, MIB), () => response.destroy());
    },
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 4,
  },
  {
    name: 'it never ends',
    answer: (response) => {
      const more = (): void => {
        if (!response.destroyed) response.write(Buffer.alloc(65536, 1), () => setImmediate(more));
      };
      more();
    },
    image: { sizeBytes: GOOD.length },
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 1,
  },
  {
    name: 'the headers never come',
    answer: () => undefined,
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 4,
    http: quick,
  },
  {
    name: 'the body stops in the middle',
    answer: (response) => {
      response.writeHead(200, { 'content-length': GOOD.length });
      response.write(GOOD.subarray(0, MIB));
    },
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 4,
    http: quick,
  },
  {
    name: 'its checksum is wrong each time',
    answer: (response) => response.end(noise(MIB, 9)),
    image: { checksum: { algorithm: 'sha512', value: digest(GOOD, 'sha512') } },
    code: 'IMAGE_CHECKSUM_MISMATCH',
    attempts: 2,
  },
  {
    name: 'the content is not the declared format',
    answer: (response) => response.end(GOOD),
    image: { diskFormat: 'qcow2' },
    code: 'IMAGE_UNACCEPTABLE',
    attempts: 1,
  },
  {
    name: 'it is empty',
    answer: (response) => response.end(),
    code: 'IMAGE_UNACCEPTABLE',
    attempts: 1,
  },
  {
    name: 'the server stays overloaded',
    answer: (response) => response.writeHead(503).end(),
    code: 'IMAGE_DOWNLOAD_FAILED',
    attempts: 4,
  },
];

describe('a download is refused and leaves nothing', () => {
  it.each(faults)('when $name', async (fault) => {
    let attempt = 0;
    const server = await serve((_request, response) => fault.answer(response, attempt++));
    const { cache, bases, temporaries } = openCache({ http: { ...AT_ONCE, ...fault.http } });
    const image = httpImage(`${server.url}/image`, 'raw', fault.image);
    await expect(cache.ensureBase(image, ANY_SIZE)).rejects.toMatchObject({ code: fault.code });
    expect(server.requests).toHaveLength(fault.attempts);
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('when nobody listens', async () => {
    const { cache, bases, temporaries } = openCache({ http: AT_ONCE });
    // Port 1 of the loopback interface: never handed out to a test server.
    const image = httpImage('http://127.0.0.1:1/image', 'raw');
    await expect(cache.ensureBase(image, ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: true,
    });
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it.each(['ftp://127.0.0.1/a', 'file:///etc/passwd', 'no url', 'http://user:secret@127.0.0.1:1/a'])(
    'when its URL is %s, without telling it',
    async (url) => {
      const { cache } = openCache({ http: AT_ONCE });
      const error = await cache
        .ensureBase(httpImage(url, 'raw', { id: 'x' }), ANY_SIZE)
        .catch((e: unknown) => e);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(String(error)).not.toContain('secret');
    },
  );
});

describe('a download succeeds', () => {
  it('after failures that pass', async () => {
    const server = await serve((_request, response) => {
      const attempt = server.requests.length;
      if (attempt === 1) response.writeHead(503).end();
      else if (attempt === 2) response.destroy();
      else if (attempt === 3) response.end(noise(GOOD.length, 3));
      else response.end(GOOD);
    });
    const { cache, temporaries } = openCache({ http: AT_ONCE });
    const checksum = { algorithm: 'md5', value: digest(GOOD, 'md5') } as const;
    const base = await cache.ensureBase(httpImage(server.url, 'raw', { checksum }), ANY_SIZE);
    expect(base.how).toBe('fetched');
    expect(server.requests).toHaveLength(4);
    expect(temporaries()).toEqual([]);
  });

  it('through redirects within the origin', async () => {
    const server = await serve((request, response) => {
      const hop = Number(request.url?.slice(1));
      if (hop < 3) response.writeHead(302, { location: `/${hop + 1}` }).end('moved');
      else response.end(GOOD);
    });
    const { cache } = openCache({ http: AT_ONCE });
    expect((await cache.ensureBase(httpImage(`${server.url}/0`, 'raw'), ANY_SIZE)).how).toBe('fetched');
    expect(server.requests).toEqual(['GET /0', 'GET /1', 'GET /2', 'GET /3']);
  });
});

describe('a redirect is refused', () => {
  it('to another origin, which is never asked', async () => {
    const other = await serve((_request, response) => response.end(GOOD));
    const server = await serve((_request, response) =>
      response.writeHead(302, { location: `${other.url}/a` }).end(),
    );
    const { cache } = openCache({ http: AT_ONCE });
    await expect(cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: false,
    });
    expect(other.requests).toEqual([]);
  });

  it.each([
    ['for ever', { location: '/again' }, 4],
    ['to nowhere', {}, 1],
    ['to a file', { location: 'file:///etc/passwd' }, 1],
  ])('%s', async (_name, headers, requests) => {
    const server = await serve((_request, response) => response.writeHead(307, headers).end());
    const { cache } = openCache({ http: AT_ONCE });
    await expect(cache.ensureBase(httpImage(server.url, 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
    });
    expect(server.requests).toHaveLength(requests);
  });
});

describe('an aborted download', () => {
  it('ends at once, closes the connection and leaves nothing', async () => {
    let closed: (() => void) | undefined;
    const gone = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const server = await serve((_request, response) => {
      response.on('close', () => closed?.());
      response.writeHead(200, { 'content-length': GOOD.length });
      response.write(GOOD.subarray(0, MIB));
    });
    const { cache, bases, temporaries } = openCache({ http: AT_ONCE });
    const abort = new AbortController();
    const download = cache.ensureBase(httpImage(server.url, 'raw'), {
      ...ANY_SIZE,
      signal: abort.signal,
      onProgress: ({ doneBytes }) => {
        if (doneBytes !== undefined && doneBytes > 0) abort.abort();
      },
    });
    await expect(download).rejects.toMatchObject({ code: 'ABORTED' });
    expect([...bases(), ...temporaries()]).toEqual([]);
    await gone;
  });

  it('ends when the time of its only caller is over', async () => {
    const server = await serve((_request, response) => void response.write('x'));
    const { cache, temporaries } = openCache({ http: AT_ONCE });
    await expect(
      cache.ensureBase(httpImage(server.url, 'raw'), { ...ANY_SIZE, timeoutMs: 200 }),
    ).rejects.toMatchObject({ code: 'TIMEOUT', retryable: true });
    expect(temporaries()).toEqual([]);
  });
});
