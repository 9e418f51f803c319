// The disks of an instance by the word of its guest: root, ephemeral and swap; overlays and raw copies; kept qcow2 bases.
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ComputeNode, type ImageCacheOptions, type LaunchRequest } from '../../src/index.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
let host: TestHost;

beforeAll(() => {
  host = new TestHost();
});
afterAll(() => host.dispose());

function open(images: Partial<ImageCacheOptions> = {}): Promise<ComputeNode> {
  const { instancesPath, root } = host;
  return ComputeNode.open({ instancesPath, driverOptions: { root, images } });
}

function request(uuid: string, more: Partial<LaunchRequest['flavor']> = {}, image = 'guest'): LaunchRequest {
  return {
    uuid,
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 2, ephemeralGb: 1, swapMb: 64, ...more },
    image: { id: image, diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    networks: [],
  };
}

async function expectAllDisks(uuid: string): Promise<void> {
  const { disks } = await host.booted(uuid);
  expect(disks.map(({ name, bytes }) => [name, bytes])).toEqual([
    ['vda', 2 * GIB],
    ['vdb', GIB],
    ['vdc', 64 * MIB],
  ]);
  expect(disks[1]?.content).toMatchObject({ type: 'ext4', label: 'ephemeral0' });
  expect(disks[1]?.content?.usableBytes).toBeGreaterThan(0.9 * GIB);
  // Without the page of the header.
  expect(disks[2]?.content).toEqual({ type: 'swap', label: '', usableBytes: 64 * MIB - 4096 });
}

const at = (uuid: string, name: string): string => join(host.instancesPath, uuid, name);
const diskInfo = (uuid: string): unknown => JSON.parse(readFileSync(at(uuid, 'disk.info'), 'utf8'));
const names = (uuid: string): string[] => readdirSync(at(uuid, '')).filter((name) => name.startsWith('disk'));

it('ephemeral and swap disks are overlays, held and named like the root disk, here over a kept qcow2 base', async () => {
  await using node = await open({ forceRawImages: false });
  const uuid = randomUUID();
  await node.launch(request(uuid, {}, 'kept'));
  await expectAllDisks(uuid);
  expect(names(uuid)).toEqual([
    ...['disk', 'disk.base', 'disk.info'],
    ...['disk.local', 'disk.local.base', 'disk.swap', 'disk.swap.base'],
  ]);
  const base = (name: string, format = 'raw') => ({
    path: expect.stringContaining(`/_base/${name}`),
    format,
  });
  expect(diskInfo(uuid)).toEqual({
    disk: { format: 'qcow2', virtualSizeBytes: 2 * GIB, base: base('', 'qcow2') },
    'disk.local': { format: 'qcow2', virtualSizeBytes: GIB, base: base('ephemeral_1_') },
    'disk.swap': { format: 'qcow2', virtualSizeBytes: 64 * MIB, base: base('swap_64') },
  });
  expect(readFileSync(at(uuid, 'disk.base')).equals(readFileSync(GUEST_IMAGE))).toBe(true);
  // Shared bases stay root's: QEMU may read them, and own none.
  for (const name of ['disk.base', 'disk.local.base', 'disk.swap.base']) {
    expect(statSync(at(uuid, name))).toMatchObject({ uid: 0, mode: 0o100644, nlink: 2 });
  }
  await node.terminate(uuid);
  expect(host.remains()).toEqual([]);
});

describe('with imagesType raw', () => {
  const uuid = randomUUID();

  it('all disks are raw, without a hold on any base', async () => {
    await using node = await open({ imagesType: 'raw' });
    await node.launch(request(uuid));
    await expectAllDisks(uuid);
    expect(names(uuid)).toEqual(['disk', 'disk.info', 'disk.local', 'disk.swap']);
    expect(statSync(at(uuid, 'disk')).size).toBe(2 * GIB);
    expect(diskInfo(uuid)).toEqual({
      disk: { format: 'raw', virtualSizeBytes: 2 * GIB },
      'disk.local': { format: 'raw', virtualSizeBytes: GIB },
      'disk.swap': { format: 'raw', virtualSizeBytes: 64 * MIB },
    });
  });

  it('they stay what they are when the option has changed', async () => {
    await using node = await open();
    await node.reboot(uuid, 'hard');
    expect((await node.get(uuid)).powerState).toBe('running');
    expect(
      readFileSync(at(uuid, 'libvirt.xml'), 'utf8').match(/<driver name='qemu' type='raw'/g),
    ).toHaveLength(3);
    await node.terminate(uuid);
    expect(host.remains()).toEqual([]);
  });
});

it('a launch whose ephemeral disk cannot be made leaves nothing', async () => {
  await using node = await open();
  const { PATH } = process.env;
  const programs = join(host.directory, 'programs');
  mkdirSync(programs);
  writeFileSync(join(programs, 'mkfs.ext4'), '#!/bin/sh\necho "no file system" >&2\nexit 1\n', {
    mode: 0o755,
  });
  process.env['PATH'] = `${programs}:${PATH}`;
  const launch = node.launch(request(randomUUID(), { ephemeralGb: 3 }));
  const error = await launch
    .catch((failure: unknown) => failure)
    .finally(() => {
      process.env['PATH'] = PATH;
    });
  expect(error).toMatchObject({ code: 'SYSTEM', message: expect.stringContaining('no file system') });
  expect(host.remains()).toEqual([]);
  expect(readdirSync(join(host.instancesPath, '_base')).filter((name) => name.includes('_3_'))).toEqual([]);
  expect((await node.report()).diskGb.used).toBe(0);
});

it('the report counts what every disk may still grow by', async () => {
  const { instancesPath, root } = host;
  const allocationRatios = { disk: 10_000 };
  await using node = await ComputeNode.open({ instancesPath, driverOptions: { root }, allocationRatios });
  const least = async (): Promise<number> => (await node.report()).diskAvailableLeastGb;
  const before = await least();
  const uuid = randomUUID();
  // More than other work on this host's disk takes or gives meanwhile.
  await node.launch(request(uuid, { rootGb: 1, ephemeralGb: 400, swapMb: 200 * 1024 }));
  const after = await least();
  await node.terminate(uuid);
  expect(before - after).toBeGreaterThan(580);
  expect(before - after).toBeLessThan(620);
});
