// node-compute image cache, as a script calls it, beside a process that has the same cache open.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { imageKey } from '../../src/image/cache-paths.js';
import {
  digest,
  diskBytes,
  fileImage,
  instanceDirectory,
  MIB,
  openCache,
  scratch,
  writeQcow2,
} from './fixtures.js';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

it('ls, prefetch, pin, prune, scrub and rm work on the cache of a node that runs', async () => {
  const { cache, instances } = openCache();
  const call = (
    ...words: string[]
  ): { readonly status: number | null; readonly value: Record<string, unknown> } => {
    const flags = ['--instances-path', instances, '--json'];
    const { status, stdout } = spawnSync(process.execPath, [main, 'image', 'cache', ...words, ...flags], {
      encoding: 'utf8',
    });
    return { status, value: JSON.parse(stdout) };
  };
  expect(call('ls')).toEqual({ status: 0, value: { ok: true, images: [], pinned: [] } });

  const path = writeQcow2(scratch(), diskBytes());
  const checksum = `sha256:${digest(readFileSync(path))}`;
  const image = fileImage(path, 'qcow2', { id: 'debian' });
  const prefetch = ['prefetch', path, '--image-id', 'debian', '--checksum', checksum];
  expect(call(...prefetch)).toMatchObject({ status: 0, value: { how: 'fetched', imageId: 'debian' } });
  expect(call(...prefetch)).toMatchObject({ value: { how: 'hit' } });
  const wrong = ['prefetch', path, '--image-id', 'other', '--checksum', `sha256:${'0'.repeat(64)}`];
  expect(call(...wrong)).toMatchObject({ status: 1, value: { error: { code: 'IMAGE_CHECKSUM_MISMATCH' } } });

  const base = await cache.ensureBase(image, { flavorRootBytes: 0 });
  expect(base.how).toBe('hit');
  const directory = instanceDirectory(instances, 'a-uuid');
  await cache.createInstanceDisk(directory, base, 0);
  expect(call('ls').value).toMatchObject({
    images: [{ imageId: 'debian', sizeBytes: 8 * MIB, instances: ['a-uuid'], verdict: 'sound' }],
  });
  expect(call('rm', 'debian')).toMatchObject({
    status: 1,
    value: { error: { code: 'IMAGE_IN_USE', details: { instances: ['a-uuid'] } } },
  });
  rmSync(directory, { recursive: true });

  expect(call('pin', 'debian').status).toBe(0);
  expect(call('prune', '--min-age', '0').value).toMatchObject({ evicted: [] });
  expect(call('unpin', 'debian').status).toBe(0);
  expect(call('prune', '--min-age', '0', '--dry-run').value).toMatchObject({
    dryRun: true,
    evicted: [{ imageId: 'debian', reason: 'age' }],
  });

  expect(call('scrub', '--rate', '1G')).toMatchObject({
    status: 0,
    value: { images: [{ verdict: 'sound' }] },
  });
  const file = openSync(base.path, 'r+');
  writeSync(file, Buffer.from('rot'), 0, 3, MIB);
  closeSync(file);
  expect(call('scrub', 'debian', '--rate', '1G')).toMatchObject({
    status: 1,
    value: { error: { code: 'IMAGE_UNACCEPTABLE', details: { rule: 'base-damaged' } } },
  });
  expect(call('rm', imageKey('debian'))).toMatchObject({
    status: 1,
    value: { error: { code: 'IMAGE_NOT_FOUND' } },
  });
  // The process beside it fetches again what was moved away.
  expect((await cache.ensureBase(image, { flavorRootBytes: 0 })).how).toBe('fetched');
  expect(call('rm', imageKey('debian')).status).toBe(0);
  expect(call('prune', '--min-age', 'soon').status).toBe(2);
  expect(call('ls').value).toMatchObject({ images: [] });
});

it('prints tables for people', () => {
  const { instances } = openCache();
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [main, 'image', 'cache', ...words, '--instances-path', instances], {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    });
  const path = writeQcow2(scratch(), diskBytes());
  const { stdout, stderr } = run('prefetch', path, '--image-id', 'debian');
  expect(stdout).toBe('debian: fetched, 8.0 MiB\n');
  expect(stderr.split('\n')).toContain('converting');
  expect(run('ls').stdout).toMatch(/debian.*8\.0 MiB.*sound/);
  expect(run('prune').stdout).toMatch(/^1 kept, 0 of them in use, \d\.\d MiB\n$/);
});
