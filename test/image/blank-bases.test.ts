// Ephemeral and swap disks: right by the word of other tools, made once, whole or not at all.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { guestBytes, instanceDirectory, MIB, openCache, read, scratch, smallFileSystem } from './fixtures.js';

const GIB = 2 ** 30;

/** What libblkid, of util-linux, finds. */
function signature(path: string): Record<string, string> {
  const text = execFileSync('blkid', ['-p', '-o', 'export', path], { encoding: 'utf8' });
  return Object.fromEntries(text.split('\n').map((line) => line.split('=', 2) as [string, string]));
}

describe('the base of swap disks', () => {
  it('is a swap area of the whole size, described beside it, held by each overlay', async () => {
    const { cache, instances, bases, temporaries } = openCache();
    const base = await cache.ensureSwapBase(64);
    expect(base).toEqual({
      path: join(instances, '_base/swap_64'),
      format: 'raw',
      virtualSizeBytes: 64 * MIB,
      how: 'fetched',
    });
    expect(signature(base.path)).toMatchObject({ TYPE: 'swap', USAGE: 'other', VERSION: '1' });
    expect(statSync(base.path).mode & 0o7777).toBe(0o644);
    expect(statSync(base.path).blocks * 512).toBeLessThan(MIB);
    expect(bases().sort()).toEqual(['swap_64', 'swap_64.json']);
    expect(readdirSync(join(instances, 'locks'))).toEqual(['swap_64']);
    expect(JSON.parse(readFileSync(`${base.path}.json`, 'utf8'))).toMatchObject({
      imageId: 'swap_64',
      source: 'swap area',
      format: 'raw',
      virtualSizeBytes: 64 * MIB,
      fileSizeBytes: 64 * MIB,
    });
    expect(temporaries()).toEqual([]);
    expect((await cache.ensureSwapBase(64)).how).toBe('hit');

    const directory = instanceDirectory(instances);
    const disk = await cache.createInstanceDisk(directory, base, 0, { name: 'disk.swap' });
    expect(readdirSync(directory).sort()).toEqual(['disk.swap', 'disk.swap.base']);
    expect(statSync(base.path).nlink).toBe(2);
    expect(guestBytes(disk.path, 'qcow2').equals(read(base.path))).toBe(true);
  });

  it('is one that mkswap could have made', async (context) => {
    const { cache } = openCache();
    const { path } = await cache.ensureSwapBase(1);
    const made = join(scratch(), 'mkswap');
    writeFileSync(made, '', { mode: 0o600 });
    truncateSync(made, MIB);
    const bytes = read(path);
    const uuid = bytes
      .subarray(1036, 1052)
      .toString('hex')
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    if (spawnSync('mkswap', ['-U', uuid, made]).error) context.skip('mkswap (package util-linux) is missing');
    expect(read(made).equals(bytes)).toBe(true);
  });
});

describe('the base of ephemeral disks', () => {
  it('is an empty ext4 with the label that Nova gives it, and takes next to no room', async () => {
    const { cache, bases, temporaries } = openCache();
    const base = await cache.ensureEphemeralBase(1, undefined);
    expect(base).toMatchObject({ format: 'raw', virtualSizeBytes: GIB, how: 'fetched' });
    expect(bases().sort()).toEqual([
      expect.stringMatching(/^ephemeral_1_[0-9a-f]{7}$/),
      expect.stringMatching(/^ephemeral_1_[0-9a-f]{7}\.json$/),
    ]);
    expect(signature(base.path)).toMatchObject({ TYPE: 'ext4', LABEL: 'ephemeral0' });
    execFileSync('e2fsck', ['-f', '-n', base.path], { stdio: 'pipe' });
    expect(statSync(base.path)).toMatchObject({ size: GIB, mode: 0o100644 });
    expect(statSync(base.path).blocks * 512).toBeLessThan(4 * MIB);
    expect(JSON.parse(readFileSync(`${base.path}.json`, 'utf8')).source).toMatch(
      /^mkfs\.ext4 .*-L ephemeral0$/,
    );
    expect(temporaries()).toEqual([]);
    expect(await cache.ensureEphemeralBase(1, 'linux')).toEqual({ ...base, how: 'hit' });
  });

  it('is vfat for Windows, and what the option says for all', async () => {
    const { cache, instances } = openCache();
    const base = await cache.ensureEphemeralBase(1, 'Windows');
    expect(signature(base.path)).toMatchObject({ TYPE: 'vfat', LABEL: 'ephemeral0' });
    const fat = openCache({ instancesPath: instances, ephemeralFormat: 'vfat' }).cache;
    expect(await fat.ensureEphemeralBase(1, 'linux')).toEqual({ ...base, how: 'hit' });
  });

  it('is made once for all who want it at once, also of two caches', async () => {
    const first = openCache();
    const second = openCache({ instancesPath: first.instances });
    const made = await Promise.all(
      [first, second].flatMap(({ cache }) =>
        Array.from({ length: 8 }, () => cache.ensureEphemeralBase(1, 'linux')),
      ),
    );
    expect(made.filter(({ how }) => how === 'fetched')).toHaveLength(1);
    expect(made.filter(({ how }) => how === 'joined')).toHaveLength(15);
    expect(first.temporaries()).toEqual([]);
  });

  it('that a killed process left half done is made anew', async () => {
    const { cache, instances, temporaries } = openCache();
    await cache.recover();
    const { path } = await openCache().cache.ensureEphemeralBase(1, 'linux');
    const key = path.split('/').at(-1) ?? '';
    writeFileSync(join(instances, '_base/.tmp', `${key}.format.0123456789ab`), 'half');
    expect((await cache.ensureEphemeralBase(1, 'linux')).how).toBe('fetched');
    expect(temporaries()).toEqual([]);
    writeFileSync(join(instances, '_base/.tmp', `${key}.format.0123456789ab`), 'half');
    await cache.recover();
    expect(temporaries()).toEqual([]);
  });

  it('whose lock another process has is waited for, within the deadline', async () => {
    const { cache, instances, bases } = openCache();
    await cache.recover();
    const lock = join(instances, 'locks/swap_16');
    const holder = spawn('flock', ['--no-fork', lock, 'sh', '-c', 'echo held; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void holder.kill('SIGKILL'));
    await once(holder.stdout, 'data');
    await expect(cache.ensureSwapBase(16, { timeoutMs: 30 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(bases()).toEqual([]);
    const waiting = cache.ensureSwapBase(16);
    holder.kill('SIGKILL');
    expect((await waiting).how).toBe('fetched');
  });
});

describe('a base that no image is', () => {
  it('of another length is made anew where no instance stands on it, and refused where one does', async () => {
    const { cache, instances } = openCache();
    const base = await cache.ensureSwapBase(8);
    truncateSync(base.path, MIB);
    expect((await cache.ensureSwapBase(8)).how).toBe('fetched');
    expect(statSync(base.path).size).toBe(8 * MIB);
    await cache.createInstanceDisk(instanceDirectory(instances), base, 0, { name: 'disk.swap' });
    truncateSync(base.path, MIB);
    await expect(cache.ensureSwapBase(8)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'base-damaged' },
    });
    expect(existsSync(base.path)).toBe(true);
  });

  it('is never a link that someone planted', async () => {
    const { cache, instances } = openCache();
    await cache.recover();
    symlinkSync('/etc/passwd', join(instances, '_base/swap_8'));
    await expect(cache.ensureSwapBase(8)).rejects.toMatchObject({ code: 'SYSTEM' });
  });

  it.each([0, -1, 1.5, Number.NaN, 2 ** 40])('of %d is refused, and nothing is made', async (size) => {
    const { cache, bases } = openCache();
    for (const call of [() => cache.ensureSwapBase(size), () => cache.ensureEphemeralBase(size, 'linux')]) {
      await expect(call()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    expect(bases()).toEqual([]);
  });

  it('is refused where the file system cannot be as large', async () => {
    const { cache, bases } = openCache({ ephemeralFormat: 'vfat' });
    await expect(cache.ensureEphemeralBase(2048, 'linux')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    expect(bases()).toEqual([]);
  });

  it('without mkfs names the package, and swap needs none', async () => {
    const { cache, bases, temporaries } = openCache();
    const { PATH } = process.env;
    onTestFinished(() => {
      process.env['PATH'] = PATH;
    });
    process.env['PATH'] = scratch();
    await expect(cache.ensureEphemeralBase(1, 'linux')).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('e2fsprogs'),
    });
    await expect(cache.ensureEphemeralBase(1, 'windows')).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('dosfstools'),
    });
    expect(bases()).toEqual([]);
    expect(temporaries()).toEqual([]);
    expect((await cache.ensureSwapBase(1)).how).toBe('fetched');
  });

  it('that mkfs cannot make is told with its own words, and nothing is left', async () => {
    const { cache, bases, temporaries } = openCache();
    const directory = scratch();
    writeFileSync(join(directory, 'mkfs.ext4'), '#!/bin/sh\necho "the reason" >&2\nexit 3\n', {
      mode: 0o755,
    });
    const { PATH } = process.env;
    onTestFinished(() => {
      process.env['PATH'] = PATH;
    });
    process.env['PATH'] = `${directory}:${PATH}`;
    await expect(cache.ensureEphemeralBase(1, 'linux')).rejects.toMatchObject({
      code: 'SYSTEM',
      message: expect.stringContaining('the reason'),
      details: { status: 3 },
    });
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('is NO_SPACE on a full disk, and nothing is left', async (context) => {
    const instancesPath = smallFileSystem(2048);
    if (!instancesPath) return context.skip('mounting a small file system needs root');
    const { cache, bases, temporaries } = openCache({ instancesPath, reservedBytes: 0 });
    await expect(cache.ensureEphemeralBase(400, 'linux')).rejects.toMatchObject({ code: 'NO_SPACE' });
    await cache.recover();
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('is not made when all who wanted it have left, and mkfs ends with them', async () => {
    const { cache, bases, temporaries } = openCache();
    const directory = scratch();
    const mark = join(directory, 'started');
    writeFileSync(join(directory, 'mkfs.ext4'), `#!/bin/sh\necho $$ > ${mark}\nexec sleep 60\n`, {
      mode: 0o755,
    });
    const { PATH } = process.env;
    onTestFinished(() => {
      process.env['PATH'] = PATH;
    });
    process.env['PATH'] = `${directory}:${PATH}`;
    const controller = new AbortController();
    const making = cache.ensureEphemeralBase(1, 'linux', { signal: controller.signal });
    await expect
      .poll(() => existsSync(mark) && readFileSync(mark, 'utf8').length, { timeout: 20_000 })
      .toBeTruthy();
    controller.abort();
    await expect(making).rejects.toMatchObject({ code: 'ABORTED' });
    expect([...bases(), ...temporaries()]).toEqual([]);
    expect(existsSync(`/proc/${readFileSync(mark, 'utf8').trim()}/exe`)).toBe(false);
  });

  it('is made by the next process when one was killed while mkfs ran, and mkfs dies with it', async () => {
    const { cache, instances, temporaries } = openCache();
    const directory = scratch();
    const mark = join(directory, 'started');
    writeFileSync(join(directory, 'mkfs.ext4'), `#!/bin/sh\necho $$ > ${mark}\nexec sleep 60\n`, {
      mode: 0o755,
    });
    const script = `
      import { ImageCache } from ${JSON.stringify(new URL('../../dist/image/image-cache.js', import.meta.url).href)};
      await new ImageCache({ instancesPath: process.argv[1] }).ensureEphemeralBase(1, 'linux');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, instances], {
      stdio: 'inherit',
      env: { ...process.env, PATH: `${directory}:${process.env['PATH']}` },
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const started = (): string => (existsSync(mark) ? readFileSync(mark, 'utf8').trim() : '');
    await expect.poll(started, { timeout: 20_000 }).not.toBe('');
    child.kill('SIGKILL');
    await expect.poll(() => existsSync(`/proc/${started()}/exe`), { timeout: 20_000 }).toBe(false);
    expect(temporaries()).toHaveLength(1);
    expect((await cache.ensureEphemeralBase(1, 'linux')).how).toBe('fetched');
    expect(temporaries()).toEqual([]);
  });

  it.each(['disk.local', 'disk.swap'] as const)('becomes a raw %s with imagesType raw', async (name) => {
    const { cache, instances } = openCache({ imagesType: 'raw' });
    const base =
      name === 'disk.local' ? await cache.ensureEphemeralBase(1, 'linux') : await cache.ensureSwapBase(32);
    const directory = instanceDirectory(instances);
    const disk = await cache.createInstanceDisk(directory, base, 0, { name });
    expect(disk).toMatchObject({
      path: join(directory, name),
      format: 'raw',
      virtualSizeBytes: base.virtualSizeBytes,
    });
    expect(signature(disk.path)).toEqual({ ...signature(base.path), DEVNAME: disk.path });
    expect(statSync(disk.path).blocks * 512).toBeLessThan(4 * MIB);
    expect(readdirSync(directory)).toEqual([name]);
  });
});
