// A qcow2 image is placed while it is downloaded: what is wrong with it or its server undoes that too.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  digest,
  httpImage,
  MIB,
  noise,
  openCache,
  read,
  scratch,
  serve,
  until,
  writeQcow2,
} from '../image/fixtures.js';

const ANY_SIZE = { flavorRootBytes: 0 };
const DISK = Buffer.concat([Buffer.from(noise(12 * MIB, 51).toString('hex')), Buffer.alloc(8 * MIB)]);
/** What is there when a server of these tests stops. */
const THERE = 10 * MIB;

const plain = (disk: Buffer = DISK): Buffer => readFileSync(writeQcow2(scratch(), disk));
const compressed = (): Buffer => readFileSync(writeQcow2(scratch(), DISK, ['-c']));

function open(): ReturnType<typeof openCache> {
  return openCache({ http: { retryPausesMs: [1, 1, 1] } });
}

function head(response: ServerResponse, image: Buffer): ServerResponse {
  return response.writeHead(200, { 'content-length': image.length });
}

/** Bytes on the disk of what is being made from the download. */
function placedBytes(instances: string): number {
  const directory = join(instances, '_base/.tmp');
  if (!existsSync(directory)) return 0;
  const name = readdirSync(directory).find((file) => file.includes('.convert.'));
  return name === undefined ? 0 : statSync(join(directory, name)).blocks * 512;
}

describe('a qcow2 image that arrives slowly', () => {
  it.each([
    ['plain', plain],
    ['compressed', compressed],
  ])('is on its place as far as it is there: %s', async (_name, imageOf) => {
    const image = imageOf();
    let rest: (() => void) | undefined;
    const server = await serve((_request, response) => {
      head(response, image).write(image.subarray(0, THERE));
      rest = () => response.end(image.subarray(THERE));
    });
    const { cache, instances, temporaries } = open();
    const making = cache.ensureBase(httpImage(server.url, 'qcow2'), ANY_SIZE);
    await until(() => rest !== undefined && placedBytes(instances) > 4 * MIB);
    rest?.();
    const base = await making;
    expect(read(base.path).equals(DISK)).toBe(true);
    expect(statSync(base.path).blocks * 512).toBeLessThanOrEqual(25 * MIB);
    expect(temporaries()).toEqual([]);
  });

  it('is refused as soon as it says that the flavor is too small', async () => {
    const image = plain();
    const server = await serve(async (_request, response) => {
      head(response, image).write(image.subarray(0, THERE));
      // The last MiB never comes.
      for (let sent = THERE; sent < image.length - MIB; sent += MIB) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        response.write(image.subarray(sent, sent + MIB));
      }
    });
    const { cache, bases, temporaries } = open();
    await expect(
      cache.ensureBase(httpImage(server.url, 'qcow2'), { flavorRootBytes: 16 * MIB }),
    ).rejects.toMatchObject({
      code: 'FLAVOR_DISK_TOO_SMALL',
      details: { requiredBytes: DISK.length, flavorRootBytes: 16 * MIB },
    });
    expect([...bases(), ...temporaries()]).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });

  it('leaves nothing when all who wanted it are gone', async () => {
    const image = plain();
    const server = await serve((_request, response) => {
      head(response, image).write(image.subarray(0, THERE));
    });
    const { cache, instances, bases, temporaries } = open();
    const leaving = new AbortController();
    const making = cache.ensureBase(httpImage(server.url, 'qcow2'), { ...ANY_SIZE, signal: leaving.signal });
    const refused = expect(making).rejects.toMatchObject({ code: 'ABORTED' });
    await until(() => placedBytes(instances) > 4 * MIB);
    leaving.abort();
    await refused;
    expect([...bases(), ...temporaries()]).toEqual([]);
  });
});

describe('a download that begins anew', () => {
  it('forgets what the broken one had placed', async () => {
    const image = plain();
    const other = plain(noise(DISK.length, 52));
    const { cache, instances, temporaries } = open();
    const server = await serve(async (_request, response) => {
      if (server.requests.length > 1) return void head(response, image).end(image);
      head(response, image).write(other.subarray(0, THERE));
      await until(() => placedBytes(instances) > 4 * MIB);
      response.destroy();
    });
    const base = await cache.ensureBase(httpImage(server.url, 'qcow2'), ANY_SIZE);
    expect(server.requests).toHaveLength(2);
    expect(read(base.path).equals(DISK)).toBe(true);
    expect(temporaries()).toEqual([]);
  });

  it('does so too when the checksum said that it came damaged', async () => {
    const image = compressed();
    const damaged = Buffer.from(image);
    damaged[image.length - 4 * MIB] = (damaged[image.length - 4 * MIB] ?? 0) ^ 1;
    const server = await serve((_request, response) =>
      head(response, image).end(server.requests.length === 1 ? damaged : image),
    );
    const { cache, temporaries } = open();
    const checksum = { algorithm: 'sha256', value: digest(image) } as const;
    const base = await cache.ensureBase(httpImage(server.url, 'qcow2', { checksum }), ANY_SIZE);
    expect(server.requests).toHaveLength(2);
    expect(read(base.path).equals(DISK)).toBe(true);
    expect(temporaries()).toEqual([]);
  });
});

it('an image that turns out to be bad is refused by its rule, though it was placed', async () => {
  const bad = plain();
  // A reference out of the file, in the last entry of the L2 table.
  const l1 = Number(bad.readBigUInt64BE(40));
  const l2 = Number(bad.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
  bad.writeBigUInt64BE(0x8000_0000_4000_0000n, l2 + 511 * 8);
  const server = await serve((_request, response) => head(response, bad).end(bad));
  const { cache, bases, temporaries } = open();
  await expect(cache.ensureBase(httpImage(server.url, 'qcow2'), ANY_SIZE)).rejects.toMatchObject({
    code: 'IMAGE_UNACCEPTABLE',
    details: { rule: 'outside-file' },
  });
  expect([...bases(), ...temporaries()]).toEqual([]);
});
