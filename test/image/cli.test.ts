// node-compute image, as a script calls it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { digest, diskBytes, MIB, scratch, writeQcow2, writeRaw } from './fixtures.js';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

function image(...words: string[]): { readonly status: number | null; readonly value: unknown } {
  const { status, stdout } = spawnSync(process.execPath, [main, 'image', ...words, '--json'], {
    encoding: 'utf8',
  });
  return { status, value: JSON.parse(stdout) };
}

describe('image', () => {
  it('inspect tells what it is, or by which rule it is refused', () => {
    const path = writeQcow2(scratch(), diskBytes(), ['-c']);
    expect(image('inspect', path, '--format', 'qcow2')).toMatchObject({
      status: 0,
      value: { ok: true, image: { format: 'qcow2', virtualSizeBytes: 8 * MIB, compression: 'zlib' } },
    });
    expect(image('inspect', path, '--format', 'qcow2', '--max-size', '4M')).toMatchObject({
      status: 1,
      value: { ok: false, error: { code: 'IMAGE_UNACCEPTABLE', details: { rule: 'too-large' } } },
    });
    expect(image('inspect', path, '--format', 'raw').status).toBe(1);
    expect(image('inspect', path, '--format', 'word').status).toBe(2);
    expect(image('inspect', path, '--format', 'raw', '--max-size', '1X').status).toBe(2);
  });

  it('convert writes the disk, of qcow2 and of raw, and never over a file', () => {
    const directory = scratch();
    const qcow2 = writeQcow2(directory, diskBytes());
    const raw = writeRaw(directory, diskBytes());
    for (const [from, source] of Object.entries({ qcow2, raw })) {
      const target = join(directory, `from-${from}`);
      expect(image('convert', source, target, '--from', from)).toMatchObject({
        status: 0,
        value: { ok: true, path: target, virtualSizeBytes: 8 * MIB },
      });
      expect(readFileSync(target).equals(diskBytes())).toBe(true);
      expect(image('convert', source, target, '--from', from).status).toBe(1);
    }
    const other = join(directory, 'other');
    expect(image('convert', qcow2, other, '--from', 'raw')).toMatchObject({
      status: 1,
      value: { error: { details: { rule: 'format-mismatch' } } },
    });
    expect(existsSync(other)).toBe(false);
  });

  it('create makes an overlay that QEMU takes for its own', () => {
    const directory = scratch();
    const base = writeRaw(directory, diskBytes());
    const target = join(directory, 'overlay');
    expect(image('create', target, '--backing', base, '--backing-format', 'raw', '--size', '1G').status).toBe(
      0,
    );
    execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', target]);
    const info = execFileSync('qemu-img', ['info', '--output=json', '-f', 'qcow2', target], {
      encoding: 'utf8',
    });
    expect(JSON.parse(info)).toMatchObject({
      'virtual-size': 2 ** 30,
      'full-backing-filename': base,
      'backing-filename-format': 'raw',
    });
  });

  it('create without a backing file makes an empty image', () => {
    const directory = scratch();
    const target = join(directory, 'empty');
    const flags = ['--size', '1G', '--cluster-size', '4K', '--compression', 'zstd'];
    expect(image('create', target, ...flags)).toEqual({
      status: 0,
      value: {
        ok: true,
        path: target,
        virtualSizeBytes: 2 ** 30,
        clusterSizeBytes: 4096,
        compression: 'zstd',
      },
    });
    execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', target]);
    expect(image('create', target, ...flags).status).toBe(1);
    expect(image('create', join(directory, 'half'), '--size', '1G', '--backing', target).status).toBe(2);
  });

  it('info tells what qemu-img info tells, and lines for people', () => {
    const path = writeQcow2(scratch(), diskBytes());
    const theirs = execFileSync('qemu-img', ['info', '--output=json', '-f', 'qcow2', path], {
      encoding: 'utf8',
    });
    expect(image('info', path, '--format', 'qcow2')).toEqual({
      status: 0,
      value: { ok: true, image: JSON.parse(theirs) },
    });
    const { stdout } = spawnSync(process.execPath, [main, 'image', 'info', path, '--format', 'qcow2'], {
      encoding: 'utf8',
    });
    expect(stdout).toContain('virtual-size: 8388608\n');
    expect(stdout).toContain('compat: "1.1"\n');
    expect(image('info', path).status).toBe(2);
  });

  it('resize makes the disk larger, by or to a size, and never smaller', () => {
    const directory = scratch();
    const qcow2 = writeQcow2(directory, diskBytes());
    const raw = writeRaw(directory, diskBytes());
    for (const [format, path] of Object.entries({ qcow2, raw })) {
      expect(image('resize', path, '+8M', '--format', format)).toEqual({
        status: 0,
        value: { ok: true, path, oldVirtualSizeBytes: 8 * MIB, virtualSizeBytes: 16 * MIB },
      });
      expect(image('resize', path, '1G', '--format', format)).toMatchObject({
        status: 0,
        value: { oldVirtualSizeBytes: 16 * MIB, virtualSizeBytes: 2 ** 30 },
      });
      expect(image('resize', path, '512M', '--format', format)).toMatchObject({
        status: 1,
        value: { ok: false, error: { code: 'IMAGE_UNACCEPTABLE', details: { rule: 'shrink' } } },
      });
      expect(image('resize', path, '-1G', '--format', format).status).toBe(2);
      expect(image('resize', path, '++1G', '--format', format).status).toBe(2);
    }
    execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', qcow2]);
  });

  it('digest hashes a file', () => {
    const path = writeRaw(scratch(), diskBytes());
    expect(image('digest', path, '--algorithm', 'sha512').value).toEqual({
      ok: true,
      algorithm: 'sha512',
      value: digest(diskBytes(), 'sha512'),
    });
  });

  it('opens the files it was given and none that an image names', () => {
    const directory = scratch();
    const base = writeRaw(directory, diskBytes(), 'given.raw');
    const secret = writeRaw(directory, diskBytes(2), 'named-in-the-header.raw');
    const overlay = join(directory, 'overlay');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', overlay]);
    const trace = join(directory, 'trace');
    const traced = (...words: string[]): { readonly status: number | null; readonly opened: string } => {
      const { status } = spawnSync(
        'strace',
        ['-f', '-qq', '-e', 'trace=%file', '-o', trace, process.execPath, main, 'image', ...words, '--json'],
        { encoding: 'utf8' },
      );
      return { status, opened: readFileSync(trace, 'utf8') };
    };
    const target = join(directory, 'target');
    for (const { words, status } of [
      { words: ['inspect', overlay, '--format', 'qcow2'], status: 1 },
      { words: ['convert', overlay, target, '--from', 'qcow2'], status: 1 },
      { words: ['info', overlay, '--format', 'qcow2'], status: 0 },
      { words: ['map', overlay, '--format', 'qcow2', '--backing', `raw:${base}`], status: 0 },
      { words: ['resize', overlay, '1G', '--format', 'qcow2', '--backing', `raw:${base}`], status: 0 },
      { words: ['convert', overlay, target, '--from', 'qcow2', '--backing', `raw:${base}`], status: 0 },
    ]) {
      const result = traced(...words);
      expect(result.status, words.join(' ')).toBe(status);
      expect(result.opened, words.join(' ')).toContain(overlay);
      expect(result.opened, words.join(' ')).not.toContain(secret);
    }
    expect(
      readFileSync(target)
        .subarray(0, 8 * MIB)
        .equals(diskBytes()),
    ).toBe(true);
  });
});
