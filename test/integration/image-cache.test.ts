// The image cache of a node with real guests: one runs on while its base is found damaged and replaced below it.
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { imageKey } from '../../src/image/cache-paths.js';
import { ComputeNode, ImageCache, type LaunchRequest, type NodeEvent } from '../../src/index.js';
import { eventually, GUEST_IMAGE, TestHost } from '../support/host.js';

const host = new TestHost();
afterAll(() => host.dispose());

function request(): LaunchRequest {
  return {
    uuid: randomUUID(),
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
  };
}

function flip(path: string, offset: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset);
  writeSync(file, Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, offset);
  closeSync(file);
}

it('heals a damaged base under a guest that runs, and gives no other guest the damage', async () => {
  const { instancesPath, root } = host;
  await using node = await ComputeNode.open({ instancesPath, driverOptions: { root } });
  const seen: NodeEvent[] = [];
  void (async () => {
    for await (const event of node.events()) seen.push(event);
  })();
  const base = join(instancesPath, '_base', imageKey('guest'));
  // Its digest is taken beside the launch: a prefetch waits for that.
  expect(await node.cacheImage(request().image)).toBe('fetched');
  const first = await node.launch(request());
  const { uuid } = first.instance;
  await host.booted(uuid);
  const old = statSync(base).ino;

  flip(base, statSync(base).size - 1);
  await using beside = new ImageCache({ instancesPath });
  expect(await beside.scrub({ bytesPerSecond: 2 ** 40 })).toMatchObject([{ verdict: 'damaged' }]);
  expect(statSync(base).ino).toBe(old);

  const second = await node.launch(request());
  expect(second.imageCache).toBe('fetched');
  await host.booted(second.instance.uuid);
  expect(statSync(base).ino).not.toBe(old);
  expect(statSync(base).nlink).toBe(3);
  expect((await node.get(uuid)).powerState).toBe('running');
  await node.reboot(uuid, 'hard');
  await eventually('the first guest to boot again', 90_000, () => {
    return (host.consoleText(uuid).match(/"event":"BOOTED"/g)?.length ?? 0) > 1;
  });
  expect(await beside.scrub({ bytesPerSecond: 2 ** 40 })).toMatchObject([{ verdict: 'sound' }]);
  expect(await node.imageCacheMetrics()).toMatchObject({ misses: 2, hits: 1, healed: 1 });
  expect(seen).toContainEqual(
    expect.objectContaining({ type: 'image-cache', event: expect.objectContaining({ kind: 'healed' }) }),
  );

  await expect(beside.remove('guest')).rejects.toMatchObject({ code: 'IMAGE_IN_USE' });
  for (const { instance } of [first, second]) await node.terminate(instance.uuid);
  await beside.remove('guest');
  expect(host.remains()).toEqual([]);
});
