// Scrubs of cached bases: one flipped bit is found, never given to a new instance, moved away or healed.
import {
  closeSync,
  existsSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ImageMeta } from '../../src/driver/model.js';
import type { ImageCacheNews } from '../../src/image/cache/telemetry.js';
import { imageKey } from '../../src/image/cache-paths.js';
import type { ImageCache } from '../../src/image/image-cache.js';
import {
  digest,
  diskBytes,
  fileImage,
  holdOf,
  httpImage,
  instanceDirectory,
  MIB,
  openCache,
  read,
  scratch,
  serve,
  until,
  writeQcow2,
  writeRaw,
} from './fixtures.js';

const ANY_SIZE = { flavorRootBytes: 0 };
const FAST = { bytesPerSecond: 2 ** 40 };

/** As a disk that forgot: the length stays. */
function flip(path: string, offset = 3 * MIB + 77): void {
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.from([(readFileSync(path)[offset] ?? 0) ^ 1]), 0, 1, offset);
  closeSync(file);
}

const bytes = diskBytes();
const raw = (): ImageMeta =>
  fileImage(writeRaw(scratch(), bytes), 'raw', {
    checksum: { algorithm: 'sha512', value: digest(bytes, 'sha512') },
  });
const qcow2 = (): ImageMeta => fileImage(writeQcow2(scratch(), bytes), 'qcow2');

const recordOf = (path: string): Record<string, unknown> => JSON.parse(readFileSync(`${path}.json`, 'utf8'));

function collect(cache: ImageCache): ImageCacheNews[] {
  const seen: ImageCacheNews[] = [];
  void (async () => {
    for await (const event of cache.events()) if (event.kind !== 'progress') seen.push(event);
  })();
  return seen;
}

describe('the digest of a base', () => {
  it('is that of the verified download where the image is raw', async () => {
    const { cache } = openCache();
    const { path } = await cache.ensureBase(raw(), ANY_SIZE);
    expect(recordOf(path)['content']).toEqual({ algorithm: 'sha512', value: digest(bytes, 'sha512') });
  });

  it.each([
    ['converted', qcow2],
    ['copied without a checksum', () => fileImage(writeRaw(scratch(), bytes), 'raw')],
  ])('is taken right after where it was %s, and nobody waits for it', async (_how, image) => {
    const { cache } = openCache();
    const { path } = await cache.ensureBase(image(), ANY_SIZE);
    await until(() => recordOf(path)['content'] !== null);
    expect(recordOf(path)['content']).toMatchObject({ algorithm: 'sparse-sha256' });
    expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'sound' }]);
  });

  it('is recorded by the first scrub where its process had no time for it', async () => {
    const { cache } = openCache();
    const { path } = await cache.prefetch(qcow2());
    writeFileSync(`${path}.json`, JSON.stringify({ ...recordOf(path), content: undefined }));
    expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'recorded' }]);
    expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'sound' }]);
    expect((await cache.list())[0]?.verdict).toBe('sound');
  });
});

describe.each([
  ['raw', raw],
  ['qcow2', qcow2],
])('one flipped bit in the base of a %s image', (_format, make) => {
  it('that nothing stands on: it goes to the quarantine, and the next launch fetches it', async () => {
    const { cache, instances, bases } = openCache();
    const image = make();
    const key = imageKey(image.id);
    const seen = collect(cache);
    const { path } = await cache.prefetch(image);
    flip(path);
    expect(await cache.scrub(FAST)).toEqual([{ base: key, imageId: image.id, verdict: 'damaged' }]);
    expect(bases()).toEqual([]);
    const [kept = ''] = readdirSync(join(instances, '_base/.quarantine'));
    expect(recordOf(join(instances, '_base/.quarantine', kept))['damagedAt']).toBeDefined();
    expect(read(join(instances, '_base/.quarantine', kept)).equals(bytes)).toBe(false);

    expect((await cache.prefetch(image)).how).toBe('fetched');
    expect(read(path).equals(bytes)).toBe(true);
    expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'sound' }]);
    await until(() => seen.length === 6);
    expect(seen.map(({ kind }) => kind)).toEqual([
      'fetched',
      'damaged',
      'quarantined',
      'scrubbed',
      'fetched',
      'scrubbed',
    ]);
    expect(cache.metrics()).toMatchObject({ damaged: 1, quarantines: 1, healed: 0, scrubs: 2, misses: 2 });
  });

  it('that instances stand on: a launch replaces it by its own bytes, and their holds move along', async () => {
    const { cache, instances, bases, temporaries } = openCache();
    const image = make();
    const base = await cache.prefetch(image);
    const old = await cache.createInstanceDisk(instanceDirectory(instances, 'old'), base, 0);
    const other = openCache({ instancesPath: instances });
    expect((await other.cache.ensureBase(image, ANY_SIZE)).how).toBe('hit');
    flip(base.path);
    const inode = statSync(base.path).ino;
    expect(await cache.scrub({ ...FAST, images: [image.id] })).toMatchObject([{ verdict: 'damaged' }]);
    expect(statSync(base.path).ino).toBe(inode);
    expect((await other.cache.list())[0]).toMatchObject({ verdict: 'damaged', instances: ['old'] });

    // Another process, which believed the base a moment ago.
    const fresh = await other.cache.ensureBase(image, ANY_SIZE);
    expect(fresh.how).toBe('fetched');
    expect(read(base.path).equals(bytes)).toBe(true);
    expect(statSync(base.path).ino).not.toBe(inode);
    expect(statSync(holdOf(old)).ino).toBe(statSync(base.path).ino);
    expect(statSync(base.path).nlink).toBe(2);
    expect(recordOf(base.path)['damagedAt']).toBeUndefined();
    expect(readdirSync(join(instances, 'old')).sort()).toEqual(['disk', 'disk.base']);
    expect(bases().sort()).toEqual([imageKey(image.id), `${imageKey(image.id)}.json`]);
    expect(temporaries()).toEqual([]);
    expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'sound' }]);
    expect(other.cache.metrics()).toMatchObject({ healed: 1 });
  });

  it('that instances stand on stays where its source has other bytes now, and no launch gets it', async () => {
    const { cache, instances, temporaries } = openCache();
    const { checksum: _none, ...image } = make();
    const base = await cache.prefetch(image);
    const baseLink = holdOf(await cache.createInstanceDisk(instanceDirectory(instances), base, 0));
    flip(base.path);
    await cache.scrub(FAST);
    const damaged = read(base.path);
    if (image.source.type === 'file') {
      if (image.diskFormat === 'raw') writeFileSync(image.source.path, diskBytes(7));
      else writeFileSync(image.source.path, read(writeQcow2(scratch(), diskBytes(7))));
    }
    for (let again = 0; again < 2; again++) {
      await expect(cache.ensureBase(image, ANY_SIZE)).rejects.toMatchObject({
        code: 'IMAGE_UNACCEPTABLE',
        details: { rule: 'base-damaged' },
      });
    }
    expect(read(base.path).equals(damaged)).toBe(true);
    expect(statSync(baseLink).ino).toBe(statSync(base.path).ino);
    expect(readdirSync(join(instances, 'instance-a')).sort()).toEqual(['disk', 'disk.base']);
    expect(temporaries()).toEqual([]);
    expect(cache.metrics().refused).toEqual({ 'base-damaged': 2 });
  });
});

describe('a damaged base', () => {
  it('that was given out before it was found is not linked after', async () => {
    const { cache, instances } = openCache();
    const image = raw();
    const base = await cache.prefetch(image);
    await cache.createInstanceDisk(instanceDirectory(instances, 'old'), base, 0);
    flip(base.path);
    await cache.scrub(FAST);
    const directory = instanceDirectory(instances, 'new');
    const byHand = cache.createInstanceDisk(directory, { ...base }, 0);
    await expect(byHand).rejects.toMatchObject({ code: 'IMAGE_UNACCEPTABLE', retryable: true });
    expect(readdirSync(directory)).toEqual([]);
    const disk = await cache.createInstanceDisk(directory, base, 0);
    expect(read(holdOf(disk)).equals(bytes)).toBe(true);
  });

  it('goes to the quarantine by a pass when its last instance has gone, whatever its age', async () => {
    const { cache, instances, bases } = openCache();
    const base = await cache.prefetch(raw());
    const disk = await cache.createInstanceDisk(instanceDirectory(instances), base, 0);
    const baseLink = holdOf(disk);
    const { path } = disk;
    flip(base.path);
    await cache.scrub(FAST);
    for (const each of [baseLink, path]) expect(existsSync(each)).toBe(true);
    await cache.prune();
    expect(bases()).not.toEqual([]);
    for (const each of [baseLink, path]) unlinkSync(each);
    await cache.prune();
    expect(bases()).toEqual([]);
    expect(cache.metrics()).toMatchObject({ quarantines: 1, evictions: 0 });
  });

  it('is kept for a look, three of them at most', async () => {
    const { cache, instances } = openCache();
    const image = raw();
    for (let i = 0; i < 5; i++) {
      const { path } = await cache.prefetch(image);
      flip(path);
      await cache.scrub(FAST);
    }
    const names = readdirSync(join(instances, '_base/.quarantine'));
    expect(names.filter((name) => !name.endsWith('.json'))).toHaveLength(3);
    expect(names).toHaveLength(6);
  });

  it('gives way to bases under a cap', async () => {
    const { cache, instances } = openCache();
    const image = raw();
    const { path } = await cache.prefetch(image);
    flip(path);
    await cache.scrub(FAST);
    await cache.prefetch(image);
    const { bytes: there } = await cache.prune();
    expect((await cache.prune({ maxBytes: there - 1 })).evicted).toEqual([]);
    expect(readdirSync(join(instances, '_base/.quarantine'))).toEqual([]);
    expect(existsSync(path)).toBe(true);
  });
});

describe('a replacement that was cut short', () => {
  const cutShort = async () => {
    const fixture = openCache();
    const image = raw();
    const base = await fixture.cache.prefetch(image);
    const disk = await fixture.cache.createInstanceDisk(instanceDirectory(fixture.instances), base, 0);
    const fresh = `${holdOf(disk)}.fresh`;
    const next = openCache({ instancesPath: fixture.instances });
    return { ...fixture, image, base, disk, fresh, next };
  };

  it('before the new file had its name is undone', async () => {
    const { instances, image, base, disk, fresh, next } = await cutShort();
    const temporary = join(instances, '_base/.tmp', `${imageKey(image.id)}.download.0123456789ab`);
    writeFileSync(temporary, bytes);
    linkSync(temporary, fresh);
    await next.cache.recover();
    expect(existsSync(fresh)).toBe(false);
    expect(existsSync(temporary)).toBe(false);
    expect(statSync(holdOf(disk)).ino).toBe(statSync(base.path).ino);
  });

  it('after it had its name is finished, and the base is in use all the while', async () => {
    const { cache, base, disk, fresh, next } = await cutShort();
    const file = `${base.path}.new`;
    writeFileSync(file, bytes);
    linkSync(file, fresh);
    renameSync(file, base.path);
    expect((await cache.prune({ minAgeMs: 0, maxBytes: 1 })).evicted).toEqual([]);
    await next.cache.recover();
    expect(existsSync(fresh)).toBe(false);
    expect(statSync(holdOf(disk)).ino).toBe(statSync(base.path).ino);
  });

  it('after the holds moved leaves a mark that a scrub takes away', async () => {
    const { cache, base } = await cutShort();
    writeFileSync(`${base.path}.json`, JSON.stringify({ ...recordOf(base.path), damagedAt: '2026-01-01' }));
    expect((await cache.list())[0]?.verdict).toBe('damaged');
    expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'sound' }]);
    expect((await cache.list())[0]?.verdict).toBe('sound');
  });
});

describe('a scrub', () => {
  it('reads at its rate, tells how far it is, and ends by its signal at once', async () => {
    const { cache } = openCache();
    await cache.prefetch(raw());
    const controller = new AbortController();
    const seen: number[] = [];
    const scrub = cache.scrub({
      // 1 MiB, then a pause of an hour.
      bytesPerSecond: MIB / 3600,
      signal: controller.signal,
      onProgress: ({ doneBytes, totalBytes }) => {
        seen.push(doneBytes);
        expect(totalBytes).toBe(8 * MIB);
        setTimeout(() => controller.abort(), 10);
      },
    });
    await expect(scrub).rejects.toMatchObject({ code: 'ABORTED' });
    expect(seen).toHaveLength(1);
    expect(seen[0]).toBeLessThan(8 * MIB);
  });

  it('in the background reads what is due, once, and ends with the cache', async () => {
    const { cache, instances } = openCache({ scrubBytesPerSecond: 2 ** 40 });
    const { path } = await cache.prefetch(raw());
    const seen = collect(cache);
    cache.scrubDue();
    cache.scrubDue();
    await until(() => seen.length > 0);
    await until(() =>
      existsSync(join(instances, '_base/.scrubbed', imageKey((seen[0] as { imageId: string }).imageId))),
    );
    cache.scrubDue();
    await cache.close();
    expect(seen.map(({ kind }) => kind)).toEqual(['scrubbed']);
    flip(path);
    // Read a moment ago: not due.
    const next = openCache({ instancesPath: instances, scrubBytesPerSecond: 2 ** 40 });
    next.cache.scrubDue();
    await next.cache.close();
    expect(next.cache.metrics().damaged).toBe(0);
    await expect(next.cache.list()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('never clears one that was found damaged before anyone had its digest', async () => {
    const { cache, instances } = openCache();
    const base = await cache.prefetch(raw());
    await cache.createInstanceDisk(instanceDirectory(instances), base, 0);
    const marked = { ...recordOf(base.path), content: null, damagedAt: '2026-01-01T00:00:00.000Z' };
    writeFileSync(`${base.path}.json`, JSON.stringify(marked));
    for (let again = 0; again < 2; again++) {
      expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'damaged' }]);
    }
    expect(recordOf(base.path)).toMatchObject({ content: null, damagedAt: marked.damagedAt });
  });

  it('leaves no stamp of a base that it moved away, and one of a base that it left', async () => {
    const { cache, instances } = openCache();
    const stamps = (): string[] =>
      ['.used', '.scrubbed'].flatMap((name) => readdirSync(join(instances, '_base', name)));
    const gone = await cache.prefetch(raw());
    flip(gone.path);
    await cache.scrub(FAST);
    expect(stamps()).toEqual([]);
    const held = await cache.prefetch(raw());
    await cache.createInstanceDisk(instanceDirectory(instances), held, 0);
    rmSync(join(instances, '_base/.scrubbed', imageKeyOf(held.path)), { force: true });
    flip(held.path);
    await cache.scrub(FAST);
    expect(stamps()).toEqual([imageKeyOf(held.path), imageKeyOf(held.path)]);
  });

  it('of what is not there is refused, of what has no record is unknown', async () => {
    const { cache } = openCache();
    await expect(cache.scrub({ images: ['none'] })).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
    const { path } = await cache.prefetch(raw());
    writeFileSync(`${path}.json`, '{');
    expect(await cache.scrub(FAST)).toMatchObject([{ verdict: 'unknown', imageId: undefined }]);
  });
});

describe('recovery', () => {
  it('removes records without a base and half-written small files, and leaves those in use', async () => {
    const { cache, instances, bases } = openCache();
    const { path } = await cache.prefetch(raw());
    const orphan = imageKey('orphan');
    const half = `${imageKey('half')}.json.0123456789abcdef.tmp`;
    for (const name of [
      `${orphan}.json`,
      half,
      `.used/${orphan}.0123456789abcdef.tmp`,
      '.used/.together.0123456789abcdef.tmp',
    ]) {
      writeFileSync(join(instances, '_base', name), '{}');
    }
    await cache.recover();
    expect(
      bases()
        .map((name) => join(instances, '_base', name))
        .sort(),
    ).toEqual([path, `${path}.json`]);
    expect(readdirSync(join(instances, '_base/.used'))).toEqual([imageKeyOf(path)]);
  });
});

describe('what is counted', () => {
  it('is hits, misses, joins, failures, bytes, and verdicts of inspections', async () => {
    const { cache } = openCache();
    const server = await serve((_request, response) => setTimeout(() => response.end(bytes), 50));
    const image = httpImage(`${server.url}/a`, 'raw');
    const seen: ImageCacheNews[] = [];
    void (async () => {
      for await (const event of cache.events()) seen.push(event);
    })();
    const all = Promise.all([1, 2, 3].map(() => cache.ensureBase(image, ANY_SIZE)));
    await until(() => cache.metrics().fetching === 1);
    await all;
    await cache.ensureBase(image, ANY_SIZE);
    await expect(cache.ensureBase(httpImage(`${server.url}/b`, 'qcow2'), ANY_SIZE)).rejects.toThrow();
    expect(cache.metrics()).toMatchObject({
      hits: 1,
      misses: 1,
      joins: 2,
      failures: 1,
      fetchedBytes: bytes.length,
      fetching: 0,
      waiting: 0,
      accepted: { raw: 1 },
      refused: { 'format-mismatch': 1 },
    });
    expect(cache.metrics().fetchSeconds).toBeGreaterThan(0);
    await until(() => seen.some(({ kind }) => kind === 'fetch-failed'));
    const progress = seen.filter((event) => event.kind === 'progress' && event.imageId === image.id);
    expect(progress).toContainEqual({
      kind: 'progress',
      imageId: image.id,
      activity: 'downloading',
      doneBytes: bytes.length,
      totalBytes: bytes.length,
    });
    expect(seen.at(-1)).toMatchObject({
      kind: 'fetch-failed',
      code: 'IMAGE_UNACCEPTABLE',
      rule: 'format-mismatch',
    });
  });
});

function imageKeyOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
