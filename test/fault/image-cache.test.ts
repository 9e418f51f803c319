// Hostile images, full disks, small flavors, conversions cut short: refused, and nothing left behind.
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  diskBytes,
  fileImage,
  httpImage,
  MIB,
  openCache,
  scratch,
  serve,
  writeQcow2,
  writeRaw,
} from '../image/fixtures.js';

const ANY_SIZE = { flavorRootBytes: 0 };

describe('a hostile image is refused by its rule', () => {
  const secret = (): string => writeRaw(scratch(), Buffer.from('secret of the host'), 'secret');
  const create = (options: readonly string[], size = '1M'): string => {
    const path = join(scratch(), 'image.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, path, size]);
    return path;
  };
  const patched = (offset: number, bytes: Buffer): string => {
    const path = create([]);
    const content = readFileSync(path);
    bytes.copy(content, offset);
    writeFileSync(path, content);
    return path;
  };
  const hostile: readonly (readonly [rule: string, format: 'raw' | 'qcow2', make: () => string])[] = [
    ['backing-file', 'qcow2', () => create(['-b', secret(), '-F', 'raw'])],
    ['data-file', 'qcow2', () => create(['-o', `data_file=${join(scratch(), 'data')},data_file_raw=on`])],
    ['encrypted', 'qcow2', () => patched(32, Buffer.from([0, 0, 0, 1]))],
    ['too-large', 'qcow2', () => patched(24, Buffer.from('7000000000000000', 'hex'))],
    ['format-mismatch', 'raw', () => create([])],
    ['format-mismatch', 'raw', () => writeRaw(scratch(), Buffer.from('# Disk DescriptorFile\nversion=1\n'))],
    ['format-mismatch', 'qcow2', () => writeRaw(scratch(), diskBytes())],
    ['outside-file', 'qcow2', () => patched(40, Buffer.from('0000000100000000', 'hex'))],
    ['empty', 'raw', () => writeRaw(scratch(), Buffer.alloc(0))],
  ];
  it.each(hostile)('%s (declared as %s)', async (rule, format, make) => {
    const { cache, bases, temporaries } = openCache();
    await expect(cache.ensureBase(fileImage(make(), format), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule },
    });
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('when the disk in it is a qcow2 image again', async () => {
    const inner = readFileSync(create([]));
    const { cache, bases, temporaries } = openCache();
    const path = writeQcow2(scratch(), inner);
    await expect(cache.ensureBase(fileImage(path, 'qcow2'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'format-mismatch' },
    });
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('when it is no regular file, without waiting for a writer of a FIFO', async () => {
    const directory = scratch();
    const fifo = join(directory, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const device = join(directory, 'device');
    symlinkSync('/dev/zero', device);
    for (const path of [fifo, device, directory]) {
      const { cache, temporaries } = openCache();
      await expect(cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE)).rejects.toMatchObject({
        code: 'IMAGE_UNACCEPTABLE',
        details: { rule: 'not-regular-file' },
      });
      expect(temporaries()).toEqual([]);
    }
  });

  it('when it is not there', async () => {
    const { cache } = openCache();
    await expect(cache.ensureBase(fileImage('/nonexistent/image', 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
    });
  });
});

describe('a flavor with a small disk', () => {
  it('is refused before anything is converted', async () => {
    const { cache, bases, temporaries } = openCache();
    const image = fileImage(writeQcow2(scratch(), diskBytes()), 'qcow2');
    const seen: string[] = [];
    const onProgress = ({ activity }: { activity: string }): number => seen.push(activity);
    await expect(cache.ensureBase(image, { flavorRootBytes: 4 * MIB, onProgress })).rejects.toMatchObject({
      code: 'FLAVOR_DISK_TOO_SMALL',
      details: { requiredBytes: 8 * MIB, flavorRootBytes: 4 * MIB },
    });
    expect(seen).not.toContain('converting');
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('is refused before a raw image is downloaded, and by min_disk before it is asked for', async () => {
    const server = await serve((_request, response) => response.end(diskBytes()));
    const { cache, temporaries } = openCache();
    const refused = { code: 'FLAVOR_DISK_TOO_SMALL' };
    await expect(
      cache.ensureBase(httpImage(server.url, 'raw', { minDiskGb: 1 }), { flavorRootBytes: 16 * MIB }),
    ).rejects.toMatchObject(refused);
    expect(server.requests).toEqual([]);
    await expect(
      cache.ensureBase(httpImage(server.url, 'raw', { sizeBytes: 8 * MIB }), { flavorRootBytes: 4 * MIB }),
    ).rejects.toMatchObject(refused);
    expect(temporaries()).toEqual([]);
  });

  it('does not spoil the fetch for a larger one that shares it', async () => {
    const bytes = diskBytes();
    const server = await serve((_request, response) => setTimeout(() => response.end(bytes), 50));
    const { cache } = openCache();
    const image = httpImage(server.url, 'raw');
    const small = cache.ensureBase(image, { flavorRootBytes: 4 * MIB });
    const large = cache.ensureBase(image, { flavorRootBytes: 16 * MIB });
    await expect(small).rejects.toMatchObject({ code: 'FLAVOR_DISK_TOO_SMALL' });
    expect((await large).virtualSizeBytes).toBe(8 * MIB);
    await expect(cache.ensureBase(image, { flavorRootBytes: 4 * MIB })).rejects.toMatchObject({
      code: 'FLAVOR_DISK_TOO_SMALL',
    });
    expect(server.requests).toHaveLength(1);
  });
});

describe('a full file system', () => {
  it('is noticed before the first byte is copied, downloaded or converted', async () => {
    const raw = fileImage(writeRaw(scratch(), diskBytes()), 'raw');
    const server = await serve((_request, response) => response.end(diskBytes()));
    const reservedBytes = 2 ** 52;
    for (const image of [raw, httpImage(server.url, 'raw', { sizeBytes: 8 * MIB })]) {
      const { cache, bases, temporaries } = openCache({ reservedBytes });
      await expect(cache.ensureBase(image, ANY_SIZE)).rejects.toMatchObject({
        code: 'NO_SPACE',
        details: { requiredBytes: 8 * MIB, availableBytes: 0 },
      });
      expect([...bases(), ...temporaries()]).toEqual([]);
    }
  });

  it('is noticed before a compressed bomb is let out', async () => {
    const bomb = writeQcow2(scratch(), Buffer.alloc(64 * MIB, 'bomb'), ['-c']);
    expect(statSync(bomb).size).toBeLessThan(2 * MIB);
    const free = Number(
      execFileSync('stat', ['-f', '-c', '%a %S', scratch()], { encoding: 'utf8' })
        .split(' ')
        .map(Number)
        .reduce((a, b) => a * b),
    );
    // Leaves 32 MiB: room for the file, none for the disk in it.
    const { cache, bases, temporaries } = openCache({ reservedBytes: free - 32 * MIB });
    const seen: string[] = [];
    const onProgress = ({ activity }: { activity: string }): number => seen.push(activity);
    await expect(
      cache.ensureBase(fileImage(bomb, 'qcow2'), { ...ANY_SIZE, onProgress }),
    ).rejects.toMatchObject({
      code: 'NO_SPACE',
      details: { requiredBytes: 64 * MIB },
    });
    expect(seen).not.toContain('converting');
    expect([...bases(), ...temporaries()]).toEqual([]);
  });
});

describe('a conversion', () => {
  it('that is aborted leaves nothing', async () => {
    const { cache, bases, temporaries } = openCache();
    const abort = new AbortController();
    const seen: string[] = [];
    const image = fileImage(writeQcow2(scratch(), diskBytes(), ['-c']), 'qcow2');
    const waiting = cache.ensureBase(image, {
      ...ANY_SIZE,
      signal: abort.signal,
      onProgress: ({ activity }) => {
        seen.push(activity);
        if (activity === 'converting') abort.abort();
      },
    });
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    expect(seen).toContain('converting');
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('of an image with a damaged compressed cluster is a refusal, and leaves nothing', async () => {
    const path = writeQcow2(scratch(), diskBytes(), ['-c']);
    const bytes = readFileSync(path);
    const l1 = Number(bytes.readBigUInt64BE(40));
    const l2 = Number(bytes.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
    // Bits 0 to 53 of a compressed entry with clusters of 64 KiB are its place in the file.
    const stream = Number(bytes.readBigUInt64BE(l2 + (3 * MIB) / 8192) & ((1n << 54n) - 1n));
    bytes.fill(0xff, stream, stream + 16);
    writeFileSync(path, bytes);
    const { cache, bases, temporaries } = openCache();
    await expect(cache.ensureBase(fileImage(path, 'qcow2'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'compressed-cluster' },
    });
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('needs no program', async () => {
    const { cache } = openCache();
    const path = writeQcow2(scratch(), diskBytes(), ['-c']);
    const before = process.env['PATH'];
    process.env['PATH'] = '';
    try {
      const base = await cache.ensureBase(fileImage(path, 'qcow2'), ANY_SIZE);
      expect(readFileSync(base.path).equals(diskBytes())).toBe(true);
    } finally {
      process.env['PATH'] = before;
    }
  });
});
