// The image cache on real files: one fetch, one conversion, a base that is right, private and kept while in use.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { imageKey } from '../../src/image/cache-paths.js';
import type { ImageProgress } from '../../src/image/types.js';
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

describe('a base', () => {
  it('of a raw file has its bytes, and modes that a QEMU of another user can pass', async () => {
    const { cache, instances, bases, temporaries } = openCache();
    const bytes = diskBytes();
    const path = writeRaw(scratch(), bytes);
    const before = process.umask(0o077);
    onTestFinished(() => void process.umask(before));

    const base = await cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE);

    expect(base).toEqual({
      path: join(instances, '_base', imageKey(path)),
      format: 'raw',
      virtualSizeBytes: bytes.length,
      how: 'fetched',
    });
    expect(read(base.path).equals(bytes)).toBe(true);
    const mode = (name: string): number => statSync(join(instances, name)).mode & 0o7777;
    expect([
      mode('.'),
      mode('_base'),
      mode('_base/.tmp'),
      mode('locks'),
      statSync(base.path).mode & 0o7777,
    ]).toEqual([0o711, 0o711, 0o700, 0o700, 0o644]);
    expect(bases().sort()).toEqual([imageKey(path), `${imageKey(path)}.json`]);
    expect(temporaries()).toEqual([]);
  });

  const conversions: readonly (readonly [string, readonly string[]])[] = [
    ['plain', []],
    ['zlib', ['-c']],
    ['zstd', ['-c', '-o', 'compression_type=zstd']],
    ['version 2', ['-o', 'compat=0.10']],
    ['clusters of 512 bytes', ['-o', 'cluster_size=512']],
    ['clusters of 2 MiB', ['-o', 'cluster_size=2M']],
    ['extended L2', ['-o', 'extended_l2=on,cluster_size=128k']],
    ['refcounts of 1 bit', ['-o', 'refcount_bits=1']],
    ['preallocated metadata', ['-o', 'preallocation=metadata']],
  ];
  it.each(conversions)('of a qcow2 file (%s) is its disk as a sparse raw file', async (_name, options) => {
    const { cache, temporaries } = openCache();
    const bytes = diskBytes(2);
    const image = fileImage(writeQcow2(scratch(), bytes, options), 'qcow2');
    const base = await cache.ensureBase(image, ANY_SIZE);
    expect(base.virtualSizeBytes).toBe(bytes.length);
    expect(read(base.path).equals(bytes)).toBe(true);
    expect(statSync(base.path).blocks * 512).toBeLessThan(4 * MIB);
    expect(temporaries()).toEqual([]);
  });

  it('of a qcow2 file has zeros where the image was zeroed or discarded over old data', async () => {
    const { cache } = openCache();
    const bytes = diskBytes(3);
    const path = writeQcow2(scratch(), bytes);
    execFileSync('qemu-img', ['snapshot', '-c', 'before', path]);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -z 0 512k', '-c', 'discard 3M 1M', path]);
    bytes.fill(0, 0, MIB / 2);
    bytes.fill(0, 3 * MIB, 4 * MIB);
    const base = await cache.ensureBase(fileImage(path, 'qcow2'), ANY_SIZE);
    expect(read(base.path).equals(bytes)).toBe(true);
  });

  it('of an image that was not closed is made in spite of stale refcounts', async () => {
    const { cache } = openCache();
    const bytes = diskBytes(4);
    const path = writeQcow2(scratch(), bytes, ['-o', 'lazy_refcounts=on']);
    bytes.fill(0x5a, 6 * MIB, 7 * MIB);
    expect(() =>
      execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x5a 6M 1M', '-c', 'abort', path], {
        stdio: 'ignore',
      }),
    ).toThrow();
    const base = await cache.ensureBase(fileImage(path, 'qcow2'), ANY_SIZE);
    expect(read(base.path).equals(bytes)).toBe(true);
  });

  it('is described beside it, without the secrets of the URL', async () => {
    const { cache, instances } = openCache();
    const bytes = diskBytes();
    const server = await serve((_request, response) => response.end(bytes));
    const url = `${server.url}/image?token=secret`;
    await cache.ensureBase(httpImage(url, 'raw', { id: 'cirros' }), ANY_SIZE);
    const record = readFileSync(join(instances, '_base', `${imageKey('cirros')}.json`), 'utf8');
    expect(JSON.parse(record)).toMatchObject({
      imageId: 'cirros',
      source: `${server.url}/image`,
      diskFormat: 'raw',
      checksum: { algorithm: 'sha256', value: digest(bytes) },
      sourceSizeBytes: bytes.length,
      virtualSizeBytes: bytes.length,
    });
    expect(record).not.toContain('secret');
  });

  it('is made where every name is hostile to a shell, to QEMU and to a parser of options', async () => {
    const hostile = `a,b:c "d' =$(touch x)\n;-o .. json:{} %41 \\`;
    const instances = join(scratch(), hostile, 'instances');
    mkdirSync(instances, { recursive: true });
    const sources = join(scratch(), hostile);
    mkdirSync(sources);
    const { cache } = openCache({ instancesPath: instances });
    const bytes = diskBytes(5);
    const base = await cache.ensureBase(fileImage(writeQcow2(sources, bytes), 'qcow2'), ANY_SIZE);
    expect(read(base.path).equals(bytes)).toBe(true);
    const disk = await cache.createInstanceDisk(instanceDirectory(instances), base, 0);
    const backing = join(scratch(), 'copy.raw');
    execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', `file:${disk.path}`, backing]);
    expect(read(backing).equals(bytes)).toBe(true);
  });

  it('is made from a symbolic link to a file', async () => {
    const { cache } = openCache();
    const directory = scratch();
    const bytes = diskBytes();
    const link = join(directory, 'link');
    symlinkSync(writeRaw(directory, bytes), link);
    const base = await cache.ensureBase(fileImage(link, 'raw'), ANY_SIZE);
    expect(read(base.path).equals(bytes)).toBe(true);
  });
});

describe('fetches', () => {
  it('of one image by many at once are one request, and all get the base', async () => {
    const { cache } = openCache();
    const bytes = diskBytes();
    const server = await serve((_request, response) => setTimeout(() => response.end(bytes), 50));
    const image = httpImage(`${server.url}/a`, 'raw');
    const bases = await Promise.all(Array.from({ length: 16 }, () => cache.ensureBase(image, ANY_SIZE)));
    expect(bases.filter((base) => base.how === 'fetched')).toHaveLength(1);
    expect(bases.filter((base) => base.how === 'joined')).toHaveLength(15);
    expect((await cache.ensureBase(image, ANY_SIZE)).how).toBe('hit');
    expect(server.requests).toEqual(['GET /a']);
  });

  it('by two caches on one path are one request', async () => {
    const first = openCache();
    const second = openCache({ instancesPath: first.instances });
    const bytes = diskBytes();
    const server = await serve((_request, response) => setTimeout(() => response.end(bytes), 50));
    const image = httpImage(`${server.url}/a`, 'raw');
    const bases = await Promise.all([first, second].map(({ cache }) => cache.ensureBase(image, ANY_SIZE)));
    expect(bases.map((base) => base.how).sort()).toEqual(['fetched', 'joined']);
    expect(server.requests).toEqual(['GET /a']);
  });

  it('wait for another process that has the lock, and take over when it is killed', async () => {
    const { cache, instances } = openCache();
    await cache.recover();
    const path = writeRaw(scratch(), diskBytes());
    const holder = await holdLock(join(instances, 'locks', imageKey(path)));
    const seen: string[] = [];
    const waiting = cache.ensureBase(fileImage(path, 'raw'), {
      ...ANY_SIZE,
      onProgress: ({ activity }) => seen.push(activity),
    });
    await until(() => seen.includes('waiting'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(seen).toEqual(['waiting']);
    holder.kill('SIGKILL');
    expect((await waiting).how).toBe('fetched');
  });

  it('that are aborted while they wait for the lock leave it free', async () => {
    const { cache, instances } = openCache();
    await cache.recover();
    const path = writeRaw(scratch(), diskBytes());
    const holder = await holdLock(join(instances, 'locks', imageKey(path)));
    const abort = new AbortController();
    const waiting = cache.ensureBase(fileImage(path, 'raw'), {
      ...ANY_SIZE,
      signal: abort.signal,
      onProgress: () => setTimeout(() => abort.abort(), 20),
    });
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    holder.kill('SIGKILL');
    expect((await cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE)).how).toBe('fetched');
  });

  it('tell each step with its bytes', async () => {
    const { cache } = openCache();
    const bytes = diskBytes();
    const file = read(writeQcow2(scratch(), bytes));
    const server = await serve((_request, response) => response.end(file));
    const seen: ImageProgress[] = [];
    await cache.ensureBase(httpImage(server.url, 'qcow2'), {
      ...ANY_SIZE,
      onProgress: (p) => void seen.push(p),
    });
    const steps = seen.map((p) => p.activity).filter((step, i, all) => step !== all[i - 1]);
    expect(steps).toEqual(['waiting', 'downloading', 'verifying', 'inspecting', 'converting', 'publishing']);
    expect(seen.filter((p) => p.activity === 'downloading').at(-1)).toEqual({
      activity: 'downloading',
      doneBytes: file.length,
      totalBytes: file.length,
    });
    expect(seen.filter((p) => p.activity === 'converting').at(-1)).toMatchObject({
      doneBytes: bytes.length,
      totalBytes: bytes.length,
    });
  });

  it('are not disturbed by a progress listener that throws', async () => {
    const { cache } = openCache();
    const image = fileImage(writeRaw(scratch(), diskBytes()), 'raw');
    const onProgress = (): void => {
      throw new Error('listener');
    };
    expect((await cache.ensureBase(image, { ...ANY_SIZE, onProgress })).how).toBe('fetched');
  });
});

describe('a cached base', () => {
  it('is found by a new process without a look at its bytes', async () => {
    const { cache, instances } = openCache();
    const path = writeRaw(scratch(), diskBytes());
    await cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE);
    unlinkSync(path);
    const again = openCache({ instancesPath: instances });
    expect((await again.cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE)).how).toBe('hit');
  });

  it('does not stand in for an image that declares other bytes', async () => {
    const { cache, instances } = openCache();
    const bytes = diskBytes();
    const path = writeRaw(scratch(), bytes);
    const image = (value: string) => fileImage(path, 'raw', { checksum: { algorithm: 'sha256', value } });
    await cache.ensureBase(image(digest(bytes).toUpperCase()), ANY_SIZE);
    for (const each of [cache, openCache({ instancesPath: instances }).cache]) {
      await expect(each.ensureBase(image('00'.repeat(32)), ANY_SIZE)).rejects.toMatchObject({
        code: 'IMAGE_CHECKSUM_MISMATCH',
      });
    }
  });

  it('that lost its record, or has one of an older inspector, is inspected again and kept', async () => {
    const { cache, instances } = openCache();
    const path = writeRaw(scratch(), diskBytes());
    const image = fileImage(path, 'raw');
    const base = await cache.ensureBase(image, ANY_SIZE);
    const record = `${base.path}.json`;
    const { ino } = statSync(base.path);
    unlinkSync(path);
    const damage: readonly (() => void)[] = [
      () => unlinkSync(record),
      () => writeFileSync(record, '{"imageId":'),
      () =>
        writeFileSync(
          record,
          readFileSync(record, 'utf8').replace(/"inspectorVersion": \d+/, '"inspectorVersion": 0'),
        ),
    ];
    for (const harm of damage) {
      harm();
      const fresh = openCache({ instancesPath: instances }).cache;
      expect((await fresh.ensureBase(image, ANY_SIZE)).how).toBe('hit');
      expect(statSync(base.path).ino).toBe(ino);
      expect(JSON.parse(readFileSync(record, 'utf8'))).toMatchObject({ imageId: path, inspectorVersion: 1 });
    }
  });

  it('that lost its record and looks like another format is refused', async () => {
    const { cache } = openCache();
    const directory = scratch();
    const bytes = diskBytes();
    const path = writeRaw(directory, bytes);
    const base = await cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE);
    writeFileSync(base.path, read(writeQcow2(directory, bytes)));
    unlinkSync(`${base.path}.json`);
    await expect(cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'format-mismatch' },
    });
  });

  it('that was cut short is fetched again; where an instance stands on it, if its bytes are known', async () => {
    const { cache, instances } = openCache();
    const bytes = diskBytes();
    const path = writeRaw(scratch(), bytes);
    const known = fileImage(path, 'raw', {
      checksum: { algorithm: 'sha256', value: digest(bytes) },
    });
    const base = await cache.ensureBase(known, ANY_SIZE);
    truncateSync(base.path, MIB);
    const again = await cache.ensureBase(known, ANY_SIZE);
    expect(again.how).toBe('fetched');
    expect(read(base.path).equals(bytes)).toBe(true);

    const disk = await cache.createInstanceDisk(instanceDirectory(instances), again, 0);
    truncateSync(base.path, MIB);
    expect((await cache.ensureBase(known, ANY_SIZE)).how).toBe('fetched');
    expect(read(base.path).equals(bytes)).toBe(true);
    expect(statSync(holdOf(disk)).ino).toBe(statSync(base.path).ino);

    const record = JSON.parse(readFileSync(`${base.path}.json`, 'utf8'));
    writeFileSync(`${base.path}.json`, JSON.stringify({ ...record, content: null }));
    truncateSync(base.path, MIB);
    await expect(cache.ensureBase(known, ANY_SIZE)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'base-damaged' },
    });
    expect(existsSync(base.path)).toBe(true);
  });

  it('is never a symbolic link that someone planted', async () => {
    const { cache, instances } = openCache();
    const path = writeRaw(scratch(), diskBytes());
    await cache.recover();
    symlinkSync('/etc/passwd', join(instances, '_base', imageKey(path)));
    await expect(cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE)).rejects.toMatchObject({
      code: 'SYSTEM',
    });
  });
});

describe('recovery', () => {
  it('removes what dead processes left and nothing that a living one still writes', async () => {
    const { cache, instances, temporaries } = openCache();
    await cache.recover();
    const name = (id: string): string => `${imageKey(id)}.download.0123456789ab`;
    for (const file of [name('dead'), name('alive'), 'foreign']) {
      writeFileSync(join(instances, '_base/.tmp', file), 'x');
    }
    await holdLock(join(instances, 'locks', imageKey('alive')));
    expect((await cache.recover()).removed).toEqual([name('dead')]);
    expect(temporaries().sort()).toEqual([name('alive'), 'foreign'].sort());
  });

  it('is not needed for the leftovers of the very image that is fetched', async () => {
    const { cache, instances, temporaries } = openCache();
    await cache.recover();
    const path = writeRaw(scratch(), diskBytes());
    writeFileSync(join(instances, '_base/.tmp', `${imageKey(path)}.convert.0123456789ab`), 'x');
    await cache.ensureBase(fileImage(path, 'raw'), ANY_SIZE);
    expect(temporaries()).toEqual([]);
  });
});

describe('the disk of an instance', () => {
  it('reads as the base, takes writes of its own, and passes qemu-img check', async () => {
    const { cache, instances } = openCache();
    const bytes = diskBytes(6);
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), bytes), 'raw'), ANY_SIZE);
    const directory = instanceDirectory(instances);

    const disk = await cache.createInstanceDisk(directory, base, 64 * MIB);

    expect(disk).toEqual({
      path: join(directory, 'disk'),
      format: 'qcow2',
      virtualSizeBytes: 64 * MIB,
      base: { path: base.path, format: 'raw' },
      baseLink: join(directory, 'disk.base'),
    });
    expect(statSync(disk.path).mode & 0o7777).toBe(0o600);
    const info = JSON.parse(
      execFileSync('qemu-img', ['info', '--output=json', '-f', 'qcow2', disk.path], { encoding: 'utf8' }),
    );
    expect(info).toMatchObject({
      'virtual-size': 64 * MIB,
      'backing-filename': base.path,
      'backing-filename-format': 'raw',
    });
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 2M 64k', '-c', 'write -P 8 40M 1M', disk.path]);
    execFileSync('qemu-img', ['check', '-f', 'qcow2', disk.path]);
    const copy = join(scratch(), 'copy.raw');
    execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', disk.path, copy]);
    const expected = Buffer.alloc(64 * MIB);
    bytes.copy(expected);
    expected.fill(7, 2 * MIB, 2 * MIB + 65536);
    expected.fill(8, 40 * MIB, 41 * MIB);
    expect(read(copy).equals(expected)).toBe(true);
    expect(read(base.path).equals(bytes)).toBe(true);
  });

  it('holds its base by a link, which ends with the directory', async () => {
    const { cache, instances } = openCache();
    const bytes = diskBytes();
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), bytes), 'raw'), ANY_SIZE);
    const directory = instanceDirectory(instances);
    const disk = await cache.createInstanceDisk(directory, base, 0);
    expect(statSync(base.path)).toMatchObject({ nlink: 2, ino: statSync(holdOf(disk)).ino });
    rmSync(directory, { recursive: true });
    expect(statSync(base.path).nlink).toBe(1);
  });

  it('has whole sectors over a base that has not', async () => {
    const { cache, instances } = openCache();
    const base = await cache.ensureBase(
      fileImage(writeRaw(scratch(), diskBytes().subarray(0, MIB + 100)), 'raw'),
      ANY_SIZE,
    );
    expect(base.virtualSizeBytes).toBe(MIB + 100);
    const disk = await cache.createInstanceDisk(instanceDirectory(instances), base, 0);
    expect(disk.virtualSizeBytes).toBe(MIB + 512);
  });

  it('is refused below the size of its base', async () => {
    const { cache, instances } = openCache();
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), diskBytes()), 'raw'), ANY_SIZE);
    const directory = instanceDirectory(instances);
    await expect(cache.createInstanceDisk(directory, base, MIB)).rejects.toMatchObject({
      code: 'FLAVOR_DISK_TOO_SMALL',
    });
    expect(existsSync(join(directory, 'disk.base'))).toBe(false);
  });

  it('that cannot be written leaves no link, and one that stands is left as it is', async () => {
    const { cache, instances } = openCache();
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), diskBytes()), 'raw'), ANY_SIZE);
    const directory = instanceDirectory(instances);
    writeFileSync(join(directory, 'disk'), 'foreign');
    await expect(cache.createInstanceDisk(directory, base, 0)).rejects.toMatchObject({ code: 'SYSTEM' });
    expect(existsSync(join(directory, 'disk.base'))).toBe(false);
    expect(readFileSync(join(directory, 'disk'), 'utf8')).toBe('foreign');

    unlinkSync(join(directory, 'disk'));
    const disk = await cache.createInstanceDisk(directory, base, 0);
    const before = read(disk.path);
    await expect(cache.createInstanceDisk(directory, base, 0)).rejects.toMatchObject({ code: 'SYSTEM' });
    expect(read(disk.path).equals(before)).toBe(true);
    expect(statSync(base.path).nlink).toBe(2);
  });

  it('over a base that has gone is made on a fresh one, or can be tried again', async () => {
    const { cache, instances } = openCache();
    const bytes = diskBytes();
    const base = await cache.ensureBase(fileImage(writeRaw(scratch(), bytes), 'raw'), ANY_SIZE);
    renameSync(base.path, `${base.path}.gone`);
    await expect(
      cache.createInstanceDisk(instanceDirectory(instances), { ...base }, 0),
    ).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      retryable: true,
    });
    const baseLink = holdOf(await cache.createInstanceDisk(instanceDirectory(instances), base, 0));
    expect(read(baseLink).equals(bytes)).toBe(true);
  });
});

/** Another process with the exclusive lock; resolves when it has it. */
async function holdLock(path: string): Promise<ChildProcess> {
  const child = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo locked; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  await new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()));
  return child;
}
