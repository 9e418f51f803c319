// An image that was put into a real Glance boots: downloaded, verified, placed while it arrives, and run by QEMU.
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { ComputeNode } from '../../src/index.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const obstacle = PrivateGlance.obstacle();
const host = new TestHost();
let glance: PrivateGlance | undefined;

beforeAll(async () => {
  if (obstacle) return;
  const directory = join(host.directory, 'glance');
  mkdirSync(directory);
  glance = await PrivateGlance.start(directory);
});

afterAll(async () => {
  await glance?.stop();
  host.dispose();
});

it('an image of Glance is fetched once, and boots', async ({ skip }) => {
  if (!glance) return skip(obstacle);
  const id = await glance.add({ disk_format: 'qcow2', container_format: 'bare', min_disk: 1 }, GUEST_IMAGE);
  await using node = await ComputeNode.open({
    instancesPath: host.instancesPath,
    driverOptions: { root: host.root, images: { glance: { endpoints: [glance.url] } } },
  });
  const launch = () =>
    node.launch({
      name: 'guest',
      flavor: { vcpus: 1, memoryMb: 160, rootGb: 1 },
      image: { id, diskFormat: 'qcow2', source: { type: 'glance' } },
    });
  const [first, second] = await Promise.all([launch(), launch()]);
  expect([first.imageCache, second.imageCache].sort()).toEqual(['fetched', 'joined']);
  for (const { instance } of [first, second]) {
    expect(await host.booted(instance.uuid)).toMatchObject({
      uuid: instance.uuid,
      rootDiskBytes: 1024 ** 3,
    });
    await node.terminate(instance.uuid);
  }
  expect(readdirSync(join(host.instancesPath, '_base/.tmp'))).toEqual([]);
  expect(host.remains()).toEqual([]);
});
