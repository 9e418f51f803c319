// What bases and disks are made of by the options: qcow2 bases that are kept, raw disks that need no base.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ImageCacheOptions } from '../../src/image/types.js';
import {
  diskBytes,
  fileImage,
  guestBytes,
  instanceDirectory,
  MIB,
  noise,
  openCache,
  read,
  scratch,
  smallFileSystem,
  writeQcow2,
  writeRaw,
} from './fixtures.js';

const ANY_SIZE = { flavorRootBytes: 0 };
const KEPT = { forceRawImages: false } as const;
const FLAT = { imagesType: 'raw' } as const;

function grown(bytes: Buffer, size: number): Buffer {
  return Buffer.concat([bytes], size);
}

const recordOf = (base: string): Record<string, unknown> => JSON.parse(readFileSync(`${base}.json`, 'utf8'));

describe('with forceRawImages false', () => {
  it.each([
    ['plain', []],
    ['compressed', ['-c', '-o', 'compression_type=zstd']],
    ['of version 2', ['-o', 'compat=0.10']],
  ])('a qcow2 image (%s) is kept as it came, and overlays name it as qcow2', async (_name, options) => {
    const bytes = diskBytes();
    const image = fileImage(writeQcow2(scratch(), bytes, options), 'qcow2');
    const { cache, instances, temporaries } = openCache(KEPT);
    const base = await cache.ensureBase(image, ANY_SIZE);
    expect(base).toMatchObject({ format: 'qcow2', virtualSizeBytes: bytes.length, how: 'fetched' });
    expect(read(base.path).equals(read(image.id))).toBe(true);
    expect(statSync(base.path).mode & 0o7777).toBe(0o644);
    expect(recordOf(base.path)).toMatchObject({
      format: 'qcow2',
      virtualSizeBytes: bytes.length,
      fileSizeBytes: statSync(image.id).size,
    });
    expect(temporaries()).toEqual([]);

    const directory = instanceDirectory(instances);
    const disk = await cache.createInstanceDisk(directory, base, 16 * MIB);
    expect(disk.base).toEqual({ path: base.path, format: 'qcow2' });
    expect(
      JSON.parse(
        execFileSync('qemu-img', ['info', '--output=json', '-f', 'qcow2', disk.path], { encoding: 'utf8' }),
      ),
    ).toMatchObject({
      'virtual-size': 16 * MIB,
      'backing-filename': base.path,
      'backing-filename-format': 'qcow2',
    });
    expect(guestBytes(disk.path, 'qcow2').equals(grown(bytes, 16 * MIB))).toBe(true);
    expect(statSync(base.path).nlink).toBe(2);

    expect((await cache.ensureBase(image, ANY_SIZE)).how).toBe('hit');
    const fresh = openCache({ ...KEPT, instancesPath: instances }).cache;
    expect(await fresh.ensureBase(image, ANY_SIZE)).toEqual({ ...base, how: 'hit' });
  });

  it('the flavor is held against the disk in the image, not its file', async () => {
    const image = fileImage(writeQcow2(scratch(), diskBytes()), 'qcow2');
    const { cache, bases } = openCache(KEPT);
    await expect(cache.ensureBase(image, { flavorRootBytes: 7 * MIB })).rejects.toMatchObject({
      code: 'FLAVOR_DISK_TOO_SMALL',
    });
    expect(bases()).toEqual([]);
    await cache.ensureBase(image, { flavorRootBytes: 8 * MIB });
  });

  it('a hostile qcow2 image is refused as ever, and raw and foreign ones become raw', async () => {
    const { cache, bases } = openCache(KEPT);
    const hostile = join(scratch(), 'hostile.qcow2');
    execFileSync('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-u',
      '-b',
      '/etc/shadow',
      '-F',
      'raw',
      hostile,
      '1M',
    ]);
    await expect(cache.ensureBase(fileImage(hostile, 'qcow2'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'backing-file' },
    });
    expect(bases()).toEqual([]);

    const raw = writeRaw(scratch(), diskBytes());
    expect(await cache.ensureBase(fileImage(raw, 'raw'), ANY_SIZE)).toMatchObject({ format: 'raw' });
    const vdi = join(scratch(), 'image.vdi');
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'vdi', raw, vdi]);
    const base = await cache.ensureBase(fileImage(vdi, 'vdi'), ANY_SIZE);
    expect(base.format).toBe('raw');
    expect(read(base.path).equals(read(raw))).toBe(true);
  });

  it('a disk that has not one sector is refused, kept or converted', async () => {
    const path = writeQcow2(scratch(), diskBytes());
    const header = read(path);
    header.writeBigUInt64BE(100n, 24);
    writeFileSync(path, header);
    for (const options of [KEPT, {}]) {
      const { cache, bases } = openCache(options);
      await expect(cache.ensureBase(fileImage(path, 'qcow2'), ANY_SIZE)).rejects.toMatchObject({
        code: 'IMAGE_UNACCEPTABLE',
      });
      expect(bases()).toEqual([]);
    }
  });

  it('a base of the other format is used as it stands, both ways', async () => {
    const image = fileImage(writeQcow2(scratch(), diskBytes()), 'qcow2');
    for (const [first, then, format] of [
      [KEPT, {}, 'qcow2'],
      [{}, KEPT, 'raw'],
    ] as const) {
      const { cache, instances } = openCache(first);
      const base = await cache.ensureBase(image, ANY_SIZE);
      expect(base.format).toBe(format);
      const other = openCache({ ...then, instancesPath: instances }).cache;
      expect(await other.ensureBase(image, ANY_SIZE)).toEqual({ ...base, how: 'hit' });
    }
  });

  it('a base of an older inspector, or without its record, passes the whole validator once more', async () => {
    const image = fileImage(writeQcow2(scratch(), diskBytes()), 'qcow2');
    const { cache, instances } = openCache(KEPT);
    const base = await cache.ensureBase(image, ANY_SIZE);
    const record = `${base.path}.json`;
    const older = (): void =>
      writeFileSync(record, JSON.stringify({ ...recordOf(base.path), inspectorVersion: 0 }));
    const reopened = (): ReturnType<typeof openCache>['cache'] =>
      openCache({ instancesPath: instances }).cache;
    for (const harm of [older, () => unlinkSync(record)]) {
      harm();
      expect(await reopened().ensureBase(image, ANY_SIZE)).toEqual({ ...base, how: 'hit' });
      expect(recordOf(base.path)).toMatchObject({
        format: 'qcow2',
        inspectorVersion: 1,
        fileSizeBytes: statSync(base.path).size,
      });
    }
    // What an older version may have let through: a table that refers to what lies outside of the file.
    const bytes = read(base.path);
    bytes.writeBigUInt64BE((1n << 63n) | (1n << 40n), Number(bytes.readBigUInt64BE(40)));
    writeFileSync(base.path, bytes);
    older();
    await expect(reopened().ensureBase(image, ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'outside-file' },
    });
  });

  it('a kept base that was cut short is fetched again', async () => {
    const image = fileImage(writeQcow2(scratch(), diskBytes()), 'qcow2');
    const { cache } = openCache(KEPT);
    const base = await cache.ensureBase(image, ANY_SIZE);
    truncateSync(base.path, 4096);
    expect((await cache.ensureBase(image, ANY_SIZE)).how).toBe('fetched');
    expect(read(base.path).equals(read(image.id))).toBe(true);
  });
});

it('a record from before there were kept bases is one of a raw base', async () => {
  const image = fileImage(writeQcow2(scratch(), diskBytes()), 'qcow2');
  const { cache, instances } = openCache();
  const base = await cache.ensureBase(image, ANY_SIZE);
  const { format, fileSizeBytes, ...older } = recordOf(base.path);
  expect([format, fileSizeBytes]).toEqual(['raw', 8 * MIB]);
  writeFileSync(`${base.path}.json`, JSON.stringify(older));
  const before = statSync(`${base.path}.json`).ino;
  const again = await openCache({ instancesPath: instances }).cache.ensureBase(image, ANY_SIZE);
  expect(again).toEqual({ ...base, how: 'hit' });
  expect(statSync(`${base.path}.json`).ino).toBe(before);
});

describe('with imagesType raw', () => {
  const options: readonly (readonly [string, Partial<ImageCacheOptions>, 'raw' | 'qcow2'])[] = [
    ['a raw', FLAT, 'raw'],
    ['a kept qcow2', { ...FLAT, ...KEPT }, 'qcow2'],
  ];
  it.each(options)(
    'the disk is a sparse raw copy of %s base, of the flavor’s size',
    async (_name, more, format) => {
      const bytes = diskBytes();
      const image = fileImage(writeQcow2(scratch(), bytes), 'qcow2');
      const { cache, instances } = openCache(more);
      const base = await cache.ensureBase(image, ANY_SIZE);
      expect(base.format).toBe(format);
      const directory = instanceDirectory(instances);
      const disk = await cache.createInstanceDisk(directory, base, 64 * MIB);
      expect(disk).toEqual({
        path: join(directory, 'disk'),
        format: 'raw',
        virtualSizeBytes: 64 * MIB,
        base: undefined,
        baseLink: undefined,
      });
      expect(read(disk.path).equals(grown(bytes, 64 * MIB))).toBe(true);
      const { mode, blocks, ino } = statSync(disk.path);
      expect(mode & 0o7777).toBe(0o600);
      expect(blocks * 512).toBeLessThan(4 * MIB);
      // The base may go, and is another file.
      expect(statSync(base.path)).toMatchObject({ nlink: 1 });
      expect(statSync(base.path).ino).not.toBe(ino);
      expect(readdirSync(directory)).toEqual(['disk']);
    },
  );

  it('an odd length is rounded up to whole sectors, and a flavor without a size takes the image’s', async () => {
    const bytes = noise(3 * MIB + 700);
    const { cache, instances } = openCache(FLAT);
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), bytes), 'raw'), ANY_SIZE);
    const disk = await cache.createInstanceDisk(instanceDirectory(instances), base, 0);
    expect(disk.virtualSizeBytes).toBe(3 * MIB + 1024);
    expect(read(disk.path).equals(grown(bytes, 3 * MIB + 1024))).toBe(true);
  });

  it.each([{}, KEPT])(
    'a disk that stands is left alone, and a smaller one than the base not made (%j)',
    async (more) => {
      const { cache, instances } = openCache({ ...FLAT, ...more });
      const base = await cache.ensureBase(fileImage(writeQcow2(scratch(), diskBytes()), 'qcow2'), ANY_SIZE);
      const directory = instanceDirectory(instances);
      await expect(cache.createInstanceDisk(directory, base, MIB)).rejects.toMatchObject({
        code: 'FLAVOR_DISK_TOO_SMALL',
      });
      expect(readdirSync(directory)).toEqual([]);
      writeFileSync(join(directory, 'disk'), 'precious');
      await expect(cache.createInstanceDisk(directory, base, 0)).rejects.toMatchObject({
        code: 'SYSTEM',
        details: { errno: 17 },
      });
      expect(readFileSync(join(directory, 'disk'), 'utf8')).toBe('precious');
      const signal = AbortSignal.abort();
      await expect(cache.createInstanceDisk(directory, base, 0, { signal })).rejects.toMatchObject({
        code: 'ABORTED',
      });
      unlinkSync(base.path);
      await expect(cache.createInstanceDisk(directory, { ...base }, 0)).rejects.toMatchObject({
        code: 'IMAGE_NOT_FOUND',
      });
      expect(readFileSync(join(directory, 'disk'), 'utf8')).toBe('precious');
    },
  );

  it('a base that has gone is made again where this cache gave it, else told as such, and nothing is left', async () => {
    const { cache, instances } = openCache(FLAT);
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), diskBytes()), 'raw'), ANY_SIZE);
    unlinkSync(base.path);
    const directory = instanceDirectory(instances);
    await expect(cache.createInstanceDisk(directory, { ...base }, 0)).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      retryable: true,
    });
    expect(readdirSync(directory)).toEqual([]);
    const disk = await cache.createInstanceDisk(directory, base, 0);
    expect(read(disk.path).equals(diskBytes())).toBe(true);
  });

  it.for([
    ['the reserve has no room is refused before a byte is written', 9, 'raw', MIB],
    ['the file system has no room ends with nothing left', 4, 'qcow2', 0],
  ] as const)('a copy for which %s', async ([_name, mib, format, reservedBytes], context) => {
    const instancesPath = smallFileSystem(mib * 1024);
    if (!instancesPath) return context.skip('mounting a small file system needs root');
    const path =
      format === 'raw'
        ? writeRaw(scratch(), noise(6 * MIB))
        : writeQcow2(scratch(), Buffer.alloc(6 * MIB, 'text'), ['-c']);
    const options = { ...FLAT, ...KEPT, instancesPath };
    const filler = openCache({ ...options, reservedBytes: 0 }).cache;
    const base = await filler.ensureBase(fileImage(path, format), ANY_SIZE);
    const directory = instanceDirectory(instancesPath);
    const { cache } = openCache({ ...options, reservedBytes });
    await expect(cache.createInstanceDisk(directory, base, 0)).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(readdirSync(directory)).toEqual([]);
    expect(existsSync(base.path)).toBe(true);
  });

  it('an abort at any moment leaves a whole disk or none', async () => {
    const { cache, instances } = openCache(FLAT);
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), noise(24 * MIB)), 'raw'), ANY_SIZE);
    for (let i = 0; i < 12; i++) {
      const directory = instanceDirectory(instances, `instance-${i}`);
      const controller = new AbortController();
      const { signal } = controller;
      const making = cache.createInstanceDisk(directory, base, 0, { signal });
      setTimeout(() => controller.abort(), i * 2);
      const outcome = await making.then(
        () => 'made',
        (error: { code: string }) => error.code,
      );
      expect(['made', 'ABORTED']).toContain(outcome);
      expect(readdirSync(directory)).toEqual(outcome === 'made' ? ['disk'] : []);
    }
  });
});

it.each([{ imagesType: 'lvm' }, { forceRawImages: 'no' }, { ephemeralFormat: 'zfs; rm -rf /' }])(
  'an option that is none is refused: %j',
  (wrong) => {
    expect(() => openCache(wrong as Partial<ImageCacheOptions>)).toThrowError(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(Object.keys(wrong)[0] ?? ''),
      }),
    );
  },
);
