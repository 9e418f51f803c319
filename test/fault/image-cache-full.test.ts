// A file system that is full: from 1 to 64 MiB through every stage, always the right error and nothing left.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageMeta } from '../../src/driver/model.js';
import { ComputeError } from '../../src/index.js';
import {
  diskBytes,
  fileImage,
  httpImage,
  instanceDirectory,
  MIB,
  noise,
  openCache,
  read,
  scratch,
  serve,
  writeQcow2,
  writeRaw,
} from '../image/fixtures.js';

/** MiB; all of 1 to 64 at a release. */
const SIZES =
  process.env['NODE_COMPUTE_FULL_DISK'] === 'all'
    ? Array.from({ length: 64 }, (_, i) => i + 1)
    : [1, 2, 4, 7, 8, 9, 10, 12, 16, 24, 33, 48, 64];

let mount = '';

beforeAll(() => {
  mount = mkdtempSync(join(tmpdir(), 'nc-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', mount]);
});

afterAll(() => {
  if (mount === '') return;
  execFileSync('umount', [mount]);
  rmSync(mount, { recursive: true });
});

function resize(mib: number): string {
  execFileSync('mount', ['-o', `remount,size=${mib}m`, mount]);
  return join(mount, 'instances');
}

const bytes = Buffer.concat([diskBytes(), noise(8 * MIB, 2), Buffer.alloc(16 * MIB, 'x')]);

describe('a launch on a file system that may be full', () => {
  const kinds: readonly (readonly [string, () => Promise<ImageMeta>])[] = [
    ['a raw file', async () => fileImage(writeRaw(scratch(), bytes), 'raw')],
    ['a compressed qcow2 file', async () => fileImage(writeQcow2(scratch(), bytes, ['-c']), 'qcow2')],
    [
      'a download of unknown length',
      async () => {
        const file = read(writeQcow2(scratch(), bytes));
        const { url } = await serve((_request, response) => {
          // Chunked: nothing tells how long it is.
          response.write(file.subarray(0, MIB));
          response.end(file.subarray(MIB));
        });
        return httpImage(url, 'qcow2', { id: 'download' });
      },
    ],
  ];

  it.each(kinds)('of %s works, or is NO_SPACE and leaves nothing', async (_name, make) => {
    const image = await make();
    const outcomes = new Set<string>();
    for (const mib of SIZES) {
      const instancesPath = resize(mib);
      const { cache, bases, temporaries } = openCache({ instancesPath, reservedBytes: 0 });
      try {
        const base = await cache.ensureBase(image, { flavorRootBytes: 0 });
        outcomes.add('fetched');
        const directory = instanceDirectory(instancesPath, 'instance');
        // What is left of the room: the disk or the stamp may not fit either.
        const disk = await cache.createInstanceDisk(directory, base, 0).catch((error: unknown) => error);
        if (disk instanceof Error) {
          expect(disk).toMatchObject({ code: 'NO_SPACE' });
          expect(readdirSync(directory)).toEqual([]);
        }
        expect(read(base.path).equals(bytes)).toBe(true);
      } catch (error) {
        if (!ComputeError.is(error)) throw error;
        expect(error).toMatchObject({ code: 'NO_SPACE' });
        outcomes.add('refused');
        expect([...bases(), ...temporaries()]).toEqual([]);
      }
      await cache.close();
      rmSync(instancesPath, { recursive: true, force: true });
    }
    expect([...outcomes].sort()).toEqual(['fetched', 'refused']);
  });

  it('scrubs, marks, pins and prunes as far as it can', async () => {
    const image = fileImage(writeRaw(scratch(), noise(MIB)), 'raw');
    const instancesPath = resize(4);
    const { cache, bases } = openCache({ instancesPath, reservedBytes: 0 });
    await cache.prefetch(image);
    execFileSync('sh', ['-c', `cat /dev/zero > ${join(mount, 'filler')} || true`], { stdio: 'ignore' });
    const refused = { code: 'NO_SPACE' };
    await expect(cache.pin(image.id)).rejects.toMatchObject(refused);
    expect(await cache.pinned()).toEqual([]);
    expect((await cache.list())[0]).toMatchObject({ verdict: 'sound' });
    expect((await cache.prune({ minAgeMs: 0 })).evicted).toHaveLength(1);
    expect(bases()).toEqual([]);
    rmSync(join(mount, 'filler'));
    await cache.close();
    rmSync(instancesPath, { recursive: true });
  });
});
