// Inspection of the formats beside qcow2 against QEMU's own tools: what QEMU writes into one file we accept, with its size.
import { execFileSync } from 'node:child_process';
import { copyFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type ForeignFormat, QEMU_FORMATS } from '../../src/image/qemu-img.js';
import { type NativeAddon, native } from '../../src/native.js';
import { diskBytes, MIB, noise, read, scratch, writeLuks, writeRaw } from './fixtures.js';

const ANY_SIZE = 2 ** 50;

let addon: NativeAddon;

beforeAll(() => {
  addon = native();
});

function qemu(program: 'qemu-img' | 'qemu-io', ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

const WRITTEN: readonly (readonly [ForeignFormat, ...(readonly string[])])[] = [
  ['vmdk'],
  ['vmdk', '-o', 'compat6=on'],
  ['vmdk', '-o', 'zeroed_grain=on'],
  ['vmdk', '-o', 'adapter_type=lsilogic,hwversion=14'],
  ['vmdk', '-o', 'subformat=streamOptimized'],
  ['vmdk', '-c', '-o', 'subformat=streamOptimized'],
  ['vhd'],
  ['vhd', '-o', 'force_size=on'],
  ['vhd', '-o', 'subformat=fixed'],
  ['vhd', '-o', 'subformat=fixed,force_size=on'],
  ['vhdx'],
  ['vhdx', '-o', 'subformat=fixed'],
  ['vhdx', '-o', 'block_size=1M'],
  ['vhdx', '-o', 'block_size=256M,log_size=2M'],
  ['vhdx', '-o', 'block_state_zero=off,subformat=fixed'],
  ['vdi'],
  ['vdi', '-o', 'static=on'],
  ['qed'],
  ['qed', '-o', 'cluster_size=16k,table_size=2'],
  ['qed', '-o', 'cluster_size=1M,table_size=16'],
  ['qcow'],
  ['ploop'],
  ['ploop', '-o', 'cluster_size=64k'],
];

function virtualSize(format: ForeignFormat, path: string): number {
  return JSON.parse(qemu('qemu-img', 'info', '--output=json', '-f', QEMU_FORMATS[format], path))[
    'virtual-size'
  ];
}

/** It is accepted as what it is, and a copy of the disk takes no more than it says. */
async function expectAccepted(format: ForeignFormat, path: string): Promise<void> {
  const verdict = await addon.inspectImage(path, format, ANY_SIZE, 0);
  expect(verdict).toMatchObject({ format, virtualSizeBytes: virtualSize(format, path) });
  if (verdict.virtualSizeBytes > 64 * MIB) return;
  const copy = join(scratch(), 'copy.raw');
  qemu('qemu-img', 'convert', '-f', QEMU_FORMATS[format], '-O', 'raw', path, copy);
  const [blocks, unit] = execFileSync('stat', ['-c', '%b %B', copy], { encoding: 'utf8' })
    .split(' ')
    .map(Number);
  expect((blocks ?? 0) * (unit ?? 0)).toBeLessThanOrEqual(verdict.dataBytes + 64 * 1024);
}

function write(format: ForeignFormat, bytes: Buffer, options: readonly string[] = []): string {
  const directory = scratch();
  const path = join(directory, `image.${format}`);
  const raw = writeRaw(directory, bytes);
  qemu('qemu-img', 'convert', '-f', 'raw', '-O', QEMU_FORMATS[format], ...options, raw, path);
  return path;
}

describe('what QEMU writes is accepted', () => {
  it.each(WRITTEN.map(([format, ...options]) => [format, options] as const))(
    '%s %j, converted',
    async (format, options) => {
      await expectAccepted(format, write(format, diskBytes(), options));
      // Sizes that are no multiple of any block, and a boot sector.
      const odd = Buffer.concat([diskBytes(), Buffer.alloc(512 * 3, 7)]);
      odd.set([0x55, 0xaa], 510);
      await expectAccepted(format, write(format, odd, options));
      await expectAccepted(format, write(format, Buffer.alloc(MIB), options));
    },
  );

  it.each(
    WRITTEN.filter(([, ...options]) => !options.join().includes('streamOptimized')).map(
      ([format, ...options]) => [format, options] as const,
    ),
  )('%s %j, created and written to here and there', async (format, options) => {
    const path = join(scratch(), 'image');
    qemu('qemu-img', 'create', '-q', '-f', QEMU_FORMATS[format], ...options, path, '100M');
    await expectAccepted(format, path);
    const writes = ['write -P 1 99M 1M', 'write -P 2 0 4k', 'write -P 3 50M 70000', 'write -z 50M 64k'];
    for (const command of writes) {
      qemu('qemu-io', '-f', QEMU_FORMATS[format], '-c', command, path);
      await expectAccepted(format, path);
    }
  });

  it.each(['vmdk', 'vhd', 'vhdx', 'vdi', 'qed', 'qcow', 'ploop'] as const)('%s of 1 TiB', async (format) => {
    const path = join(scratch(), 'image');
    qemu('qemu-img', 'create', '-q', '-f', QEMU_FORMATS[format], path, '1T');
    await expectAccepted(format, path);
  });
});

describe('what needs another file is refused', () => {
  it.each(['monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'])(
    'a VMDK of type %s',
    async (type) => {
      const path = join(scratch(), 'disk.vmdk');
      qemu('qemu-img', 'create', '-q', '-f', 'vmdk', '-o', `subformat=${type}`, path, '8M');
      await expect(addon.inspectImage(path, 'vmdk', ANY_SIZE, 0)).rejects.toMatchObject({
        rule: 'data-file',
      });
    },
  );

  it('an extent of a VMDK in parts', async () => {
    const directory = scratch();
    const path = join(directory, 'disk.vmdk');
    qemu('qemu-img', 'create', '-q', '-f', 'vmdk', '-o', 'subformat=twoGbMaxExtentSparse', path, '8M');
    await expect(
      addon.inspectImage(join(directory, 'disk-s001.vmdk'), 'vmdk', ANY_SIZE, 0),
    ).rejects.toMatchObject({ rule: 'descriptor' });
  });

  it.each(['vmdk', 'qed', 'qcow'] as const)('a %s image on a backing file', async (format) => {
    const base = write(format, diskBytes());
    const path = join(scratch(), 'overlay');
    qemu('qemu-img', 'create', '-q', '-f', format, '-b', base, '-F', format, path);
    await expect(addon.inspectImage(path, format, ANY_SIZE, 0)).rejects.toMatchObject({
      rule: 'backing-file',
    });
  });

  it('an encrypted one', async () => {
    const path = writeLuks(scratch(), 'luks', noise(MIB), 'secret');
    await expect(addon.inspectImage(path, 'luks', ANY_SIZE, 0)).rejects.toMatchObject({ rule: 'encrypted' });
  });
});

describe('a cut file is refused', () => {
  it.each(['vmdk', 'vhd', 'vhdx', 'vdi', 'qed', 'qcow'] as const)(
    '%s, wherever it is cut',
    async (format) => {
      const whole = write(format, diskBytes());
      const path = join(scratch(), 'cut');
      for (let i = 0; i < 16; i++) {
        copyFileSync(whole, path);
        truncateSync(path, Math.floor((read(whole).length * i) / 16));
        await expect(addon.inspectImage(path, format, ANY_SIZE, 0)).rejects.toMatchObject({
          code: 'IMAGE_INVALID',
        });
      }
    },
  );
});
