// Images of other hypervisors on their way through qemu-img: the right bytes, under limits, whatever their names.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DiskFormat } from '../../src/driver/model.js';
import { convertImage } from '../../src/image/convert-image.js';
import { inspectImage } from '../../src/image/inspect-image.js';
import {
  convertForeign,
  FOREIGN_FORMATS,
  type ForeignFormat,
  QEMU_FORMATS,
} from '../../src/image/qemu-img.js';
import { diskBytes, fileImage, MIB, openCache, read, scratch, writeRaw } from './fixtures.js';

/** An image with that disk, in a directory of its own. */
function write(format: ForeignFormat, disk: Buffer, name = 'image', options: readonly string[] = []): string {
  const directory = scratch();
  const raw = writeRaw(directory, disk, 'source.raw');
  const plain = join(directory, 'plain');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', QEMU_FORMATS[format], ...options, raw, plain]);
  const path = join(directory, name);
  if (path !== plain) renameSync(plain, path);
  return path;
}

/** VHD rounds sizes up to its geometry. */
function expectDisk(actual: Buffer, disk: Buffer): void {
  expect(actual.length).toBeGreaterThanOrEqual(disk.length);
  expect(actual.subarray(0, disk.length).equals(disk)).toBe(true);
  expect(actual.subarray(disk.length).every((byte) => byte === 0)).toBe(true);
}

describe('an image of another hypervisor', () => {
  it.each(FOREIGN_FORMATS)('%s becomes a base', async (format) => {
    const disk = diskBytes();
    const { cache, temporaries } = openCache();
    const base = await cache.ensureBase(fileImage(write(format, disk), format as DiskFormat), {
      flavorRootBytes: 0,
    });
    expectDisk(read(base.path), disk);
    expect(base.virtualSizeBytes).toBe(statSync(base.path).size);
    expect(temporaries()).toEqual([]);
  });

  it('of any size of file is held against the flavor by its disk', async () => {
    // Fixed: the file is longer than the disk.
    const path = write('vhd', Buffer.alloc(MIB, 7), 'image', ['-o', 'subformat=fixed,force_size=on']);
    expect(statSync(path).size).toBeGreaterThan(MIB);
    const { cache, bases } = openCache();
    await cache.ensureBase(fileImage(path, 'vhd'), { flavorRootBytes: MIB });
    expect(bases().length).toBeGreaterThan(0);
  });

  it.each(['raw', 'qcow2'] as const)('is converted to %s', async (format) => {
    const disk = diskBytes();
    const target = join(scratch(), 'target');
    const path = write('vmdk', disk, 'image', ['-o', 'subformat=streamOptimized']);
    const seen: number[] = [];
    const { virtualSizeBytes } = await convertImage([{ path, format: 'vmdk' }], target, {
      format,
      compression: 'zlib',
      onProgress: (done) => seen.push(done),
    });
    expect(virtualSizeBytes).toBe(disk.length);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    execFileSync('qemu-img', ['compare', '-f', 'vmdk', '-F', format, path, target]);
    expect(readdirSync(join(target, '..'))).toEqual(['target']);
    expect(Math.max(...seen)).toBe(disk.length);
  });

  it.each(['-O', 'nbd:127.0.0.1:1', 'json:{"driver":"null-co"}', 'a,b=c', '%s "$(id)"'])(
    'may be named %s',
    async (name) => {
      const disk = diskBytes();
      const path = write('vdi', disk, name);
      const target = join(scratch(), name);
      await convertImage([{ path, format: 'vdi' }], target, { format: 'raw' });
      expectDisk(read(target), disk);
    },
  );

  it('is inspected first', async () => {
    const directory = scratch();
    const target = join(directory, 'target');
    const path = join(directory, 'flat.vmdk');
    execFileSync('qemu-img', ['create', '-q', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', path, '1M']);
    await expect(convertImage([{ path, format: 'vmdk' }], target, { format: 'raw' })).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
    });
    expect(existsSync(target)).toBe(false);
  });

  it('never goes over a file', async () => {
    const target = writeRaw(scratch(), Buffer.from('precious'));
    const path = write('qed', diskBytes());
    for (const format of ['raw', 'qcow2'] as const) {
      await expect(convertImage([{ path, format: 'qed' }], target, { format })).rejects.toMatchObject({
        code: 'SYSTEM',
        details: { errno: 17 },
      });
    }
    expect(readFileSync(target, 'utf8')).toBe('precious');
    expect(existsSync(`${target}.raw`)).toBe(false);
  });
});

describe('qemu-img', () => {
  it('that fails is told, and leaves nothing', async () => {
    const path = write('qed', Buffer.alloc(4 * MIB, 3));
    const { virtualSizeBytes } = await inspectImage(path, { format: 'qed' });
    // Changed after it was inspected.
    truncateSync(path, 10);
    const target = join(scratch(), 'target');
    await expect(
      convertForeign({ source: path, format: 'qed', target, virtualSizeBytes, sync: false }),
    ).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'unconvertible', status: 1 },
    });
    expect(existsSync(target)).toBe(false);
  });

  it('cannot write more than the disk', async () => {
    const path = write('vdi', Buffer.alloc(8 * MIB, 3));
    const target = join(scratch(), 'target');
    await expect(
      convertForeign({ source: path, format: 'vdi', target, virtualSizeBytes: MIB, sync: false }),
    ).rejects.toMatchObject({ code: 'IMAGE_UNACCEPTABLE' });
    expect(existsSync(target)).toBe(false);
  });

  it('ends when it is told to, with all that it started', async () => {
    const path = write('vdi', Buffer.alloc(64 * MIB, 3));
    const target = join(scratch(), 'target');
    const controller = new AbortController();
    const conversion = convertForeign({
      source: path,
      format: 'vdi',
      target,
      virtualSizeBytes: 64 * MIB,
      sync: false,
      signal: controller.signal,
    });
    const rejection = expect(conversion).rejects.toMatchObject({ code: 'ABORTED' });
    while (!existsSync(target)) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new Error('enough'));
    await rejection;
    expect(existsSync(target)).toBe(false);
  });

  it('that is not there is said to be needed', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = scratch();
    try {
      const target = join(scratch(), 'target');
      await expect(
        convertForeign({ source: '/dev/null', format: 'vdi', target, virtualSizeBytes: 0, sync: false }),
      ).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('qemu-utils') });
      expect(existsSync(target)).toBe(false);
    } finally {
      process.env['PATH'] = path;
    }
  });
});
