// Where the file system has reflinks a conversion shares the clusters of its source instead of copying them.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { convertImage } from '../../src/image/convert-image.js';
import { diskBytes, MIB, read, scratch, writeQcow2, writeRaw } from './fixtures.js';

/** An XFS on a file of its own; undefined where this host has no loop device. */
function mounted(): string | undefined {
  const directory = scratch();
  const device = writeRaw(directory, Buffer.alloc(0), 'device');
  truncateSync(device, 512 * MIB);
  execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', device]);
  const point = join(directory, 'mnt');
  mkdirSync(point);
  if (spawnSync('losetup', ['--find']).status !== 0) return undefined;
  execFileSync('mount', ['-o', 'loop', device, point]);
  onTestFinished(() => {
    execFileSync('umount', [point]);
  });
  return point;
}

it.for(['qcow2', 'raw'] as const)('a conversion of %s shares what it can', async (format, context) => {
  const directory = mounted();
  if (!directory) return context.skip('no loop device to mount');
  const disk = Buffer.concat([diskBytes(), Buffer.alloc(4 * MIB, 0x5a), Buffer.alloc(MIB)]);
  const path = format === 'raw' ? writeRaw(directory, disk, 'source') : writeQcow2(directory, disk);
  const target = join(directory, 'target');
  await convertImage([{ path, format }], target, { format: 'raw' });
  expect(read(target).equals(disk)).toBe(true);
  expect(execFileSync('filefrag', ['-v', target], { encoding: 'utf8' })).toContain('shared');
});
