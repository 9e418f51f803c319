// Image info beside qemu-img info: the same facts under the same names.
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type NativeAddon, native } from '../../src/native.js';
import { diskBytes, MIB, scratch, writeLuks, writeQcow2, writeRaw } from './fixtures.js';

let addon: NativeAddon;

beforeAll(() => {
  addon = native();
});

function qemu(program: 'qemu-img' | 'qemu-io', ...args: (string | Buffer)[]): string {
  return execFileSync(program, args as string[], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function qemuInfo(path: string, format = 'qcow2'): Record<string, unknown> {
  return JSON.parse(qemu('qemu-img', 'info', '--output=json', '-f', format, path));
}

function create(path: string, options: string, ...more: string[]): void {
  qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...(options ? ['-o', options] : []), ...more, path, '64M');
}

function patch(path: string, offset: number, ...bytes: number[]): void {
  const file = openSync(path, 'r+');
  writeSync(file, Uint8Array.from(bytes), 0, bytes.length, offset);
  closeSync(file);
}

/** A QEMU that dies with the image open leaves its bitmaps in use, and the dirty bit of lazy refcounts. */
function dieWriting(path: string): void {
  spawnSync('qemu-io', ['-f', 'qcow2', '-c', 'write 0 1M', '-c', 'abort', path], { stdio: 'ignore' });
}

const snapshot = (path: string, name: string): void => void qemu('qemu-img', 'snapshot', '-c', name, path);
const bitmap = (path: string, ...words: string[]): void =>
  void qemu('qemu-img', 'bitmap', '--add', ...words.slice(0, -1), path, words.at(-1) ?? '');
const base = (path: string, ...format: string[]): string[] => ['-u', '-b', path, ...format];

const images: readonly (readonly [string, (path: string) => void])[] = [
  ...[9, 12, 16, 21].map((bits) => {
    return [`clusters of 2^${bits}`, (path: string) => create(path, `cluster_size=${2 ** bits}`)] as const;
  }),
  ...[1, 2, 4, 8, 32, 64].map((bits) => {
    return [`refcounts of ${bits}`, (path: string) => create(path, `refcount_bits=${bits}`)] as const;
  }),
  ['version 2', (path) => create(path, 'compat=0.10')],
  ['zstd', (path) => create(path, 'compression_type=zstd')],
  ['extended L2', (path) => create(path, 'extended_l2=on')],
  ['lazy refcounts', (path) => create(path, 'lazy_refcounts=on')],
  ['preallocation', (path) => create(path, 'preallocation=full')],
  [
    'dirty',
    (path) => {
      create(path, 'lazy_refcounts=on');
      dieWriting(path);
    },
  ],
  [
    'corrupt, and dirty',
    (path) => {
      create(path, '');
      patch(path, 79, 3);
    },
  ],
  [
    'snapshots',
    (path) => {
      create(path, '');
      for (const name of ['a', 'with "quotes" and \\', 'ümläut', 'x'.repeat(255)]) snapshot(path, name);
      qemu('qemu-io', '-f', 'qcow2', '-c', 'write 0 1M', path);
      qemu('qemu-img', 'snapshot', '-d', 'a', path);
    },
  ],
  [
    'snapshots of version 2',
    (path) => {
      create(path, 'compat=0.10');
      for (const name of ['a', 'b']) snapshot(path, name);
    },
  ],
  [
    'a snapshot of other times and sizes',
    (path) => {
      create(path, '');
      snapshot(path, 'a');
      const table = Number(readFileSync(path).readBigUInt64BE(64));
      patch(path, table + 16, 0xff, 0xff, 0xff, 0xff, 7, 7, 7, 7, 1, 2, 3, 4, 5, 6, 7, 8);
      patch(path, table + 40, 0, 0, 1, 2, 3, 4, 5, 6);
      patch(path, table + 56, ...Array(8).fill(0xff));
    },
  ],
  [
    'bitmaps',
    (path) => {
      create(path, '');
      bitmap(path, 'first');
      bitmap(path, '-g', '512', 'small');
      bitmap(path, '--disable', '-g', '2G', 'large and disabled');
    },
  ],
  [
    'bitmaps in use',
    (path) => {
      create(path, '');
      bitmap(path, 'first');
      bitmap(path, '--disable', 'second');
      dieWriting(path);
    },
  ],
  ['a base with its format', (path) => create(path, '', ...base('/somewhere/base', '-F', 'raw'))],
  ['a base beside it', (path) => create(path, '', ...base('base', '-F', 'qcow2'))],
  ['a base above it', (path) => create(path, '', ...base('../up/base', '-F', 'qcow2'))],
  ['a base by protocol', (path) => create(path, '', ...base('nbd:host:10809', '-F', 'raw'))],
  ['a base of version 2', (path) => create(path, 'compat=0.10', ...base('dir/ba:se', '-F', 'raw'))],
  [
    'a base without a format',
    (path) => {
      create(path, '', ...base('/base', '-F', 'raw'));
      const at = readFileSync(path).indexOf(Buffer.from('e2792aca', 'hex'));
      patch(path, at, 1, 1, 1, 1);
    },
  ],
  [
    'AES',
    (path) => {
      const secret = ['--object', 'secret,id=s,data=secret'];
      create(path, 'encrypt.format=aes,encrypt.key-secret=s,compat=0.10', ...secret);
    },
  ],
  [
    'a size that is no multiple of 512',
    (path) => {
      create(path, '');
      patch(path, 31, 1);
    },
  ],
];

describe('image info', () => {
  it.each(images)('of %s is that of qemu-img', async (_name, make) => {
    const directory = scratch();
    const path = join(directory, 'image');
    make(path);
    expect(await addon.imageInfo(path, 'qcow2', 0)).toEqual(qemuInfo(path));
  });

  it('of compressed data, written data and no directory in the name', async () => {
    for (const options of [[], ['-c'], ['-c', '-o', 'compression_type=zstd']]) {
      const path = writeQcow2(scratch(), diskBytes(), options);
      expect(await addon.imageInfo(path, 'qcow2', 0)).toEqual(qemuInfo(path));
    }
  });

  it('of raw files, whatever they look like', async () => {
    const directory = scratch();
    const raw = writeRaw(directory, diskBytes());
    const qcow2 = writeQcow2(directory, diskBytes());
    const odd = writeRaw(directory, Buffer.alloc(1000), 'odd');
    const sparse = writeRaw(directory, Buffer.alloc(0), 'sparse');
    truncateSync(sparse, 64 * MIB);
    for (const path of [raw, qcow2, odd, sparse]) {
      expect(await addon.imageInfo(path, 'raw', 0)).toEqual(qemuInfo(path, 'raw'));
    }
  });

  it('of LUKS leaves out the key slots, and of a data file its room', async () => {
    const directory = scratch();
    const luks = writeLuks(directory, 'qcow2', diskBytes(), 'secret');
    const theirs = qemuInfo(luks) as { 'format-specific': { data: { encrypt: unknown } } };
    theirs['format-specific'].data.encrypt = { format: 'luks' };
    expect(await addon.imageInfo(luks, 'qcow2', 0)).toEqual(theirs);

    const external = join(directory, 'external');
    create(external, `data_file=${join(directory, 'data')},data_file_raw=on`);
    const { 'actual-size': ours, ...rest } = await addon.imageInfo(external, 'qcow2', 0);
    const { 'actual-size': both, ...others } = qemuInfo(external);
    expect(rest).toEqual(others);
    expect(ours).toBeLessThanOrEqual(both as number);
  });

  it('of names that are not UTF-8 has U+FFFD in them, as with qemu-img', async () => {
    const path = join(scratch(), 'image');
    create(path, '');
    snapshot(path, 'here: ~~');
    const bytes = readFileSync(path);
    bytes.fill(0xff, bytes.indexOf('~~'), bytes.indexOf('~~') + 2);
    writeFileSync(path, bytes);
    expect(await addon.imageInfo(path, 'qcow2', 0)).toEqual(qemuInfo(path));
  });

  it('is refused of what is no such image', async () => {
    const raw = writeRaw(scratch(), diskBytes());
    await expect(addon.imageInfo(raw, 'qcow2', 0)).rejects.toMatchObject({ rule: 'header' });
    await expect(addon.imageInfo(raw, 'vmdk' as 'raw', 0)).rejects.toMatchObject({
      rule: 'unsupported-format',
    });
    await expect(addon.imageInfo('/dev/zero', 'raw', 0)).rejects.toMatchObject({ rule: 'not-regular-file' });
  });
});
