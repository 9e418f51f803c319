// Rescue and rebuild through a node: cut short at every point they are in their old or their new state, and nothing is left over.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ComputeError, type ComputeNode } from '../../src/index.js';
import { type Bench, kill9, makeBench, request, UUID } from './node-harness.js';

const image = (id: string, more: object = {}) => ({ ...request().image, id, ...more });

async function launched(
  more: Parameters<typeof request>[0] = {},
): Promise<{ bench: Bench; node: ComputeNode }> {
  const bench = makeBench();
  const node = await bench.open();
  await node.launch(request(more));
  return { bench, node };
}

const files = ({ path }: Bench): string[] => readdirSync(join(path, UUID)).sort();
const disk = ({ path }: Bench): string => readFileSync(join(path, UUID, 'disk'), 'utf8');
const OWN = ['disk', 'disk.config', 'libvirt.xml'];

interface Work {
  readonly begin: (node: ComputeNode) => Promise<unknown>;
  /** What stands when it is done. */
  readonly done: { readonly vmState: string; readonly imageId: string };
}
const RESCUE: Work = {
  begin: (node) => node.rescue(UUID, { image: image('rescue'), configDrive: {}, shutdownTimeoutMs: 0 }),
  done: { vmState: 'rescued', imageId: 'image' },
};
const REBUILD: Work = {
  begin: (node) => node.rebuild(UUID, { image: image('new'), configDrive: {} }, { shutdownTimeoutMs: 0 }),
  done: { vmState: 'active', imageId: 'new' },
};
const POINTS = [
  ['rescue.disk', RESCUE, 'old'],
  ['rescue.stop', RESCUE, 'old'],
  ['rescue.start', RESCUE, 'old'],
  ['rebuild.disk', REBUILD, 'old'],
  ['rebuild.stop', REBUILD, 'old'],
  ['rebuild.start', REBUILD, 'new'],
] as const;

describe('a process killed within', () => {
  it.each(POINTS)('%s leaves it whole', async (at, { begin, done }, outcome) => {
    for (const runs of [true, false]) {
      const { bench, node } = await launched();
      if (!runs) await node.shutdown(UUID, { shutdownTimeoutMs: 0 });
      bench.faults.add({ at, hang: 'deaf' });
      const cut = begin(node).catch(() => undefined);
      await bench.faults.reached(at);
      const after = kill9(bench);
      bench.faults.release();
      await cut;
      const next = await after.open();
      expect(next.recoveries).toMatchObject([{ uuid: UUID, action: 'adopted' }]);
      expect(next.recoveries[0]?.reason).toMatch(outcome === 'old' ? /is undone/ : /is finished/);
      const state = runs ? 'active' : 'stopped';
      expect(await next.get(UUID)).toMatchObject(
        outcome === 'old' ? { vmState: state, imageId: 'image' } : { ...done, vmState: state },
      );
      expect(files(after)).toEqual(OWN);
      expect(disk(after)).toBe(`fake disk of ${outcome === 'old' ? 'image' : 'new'}\n`);
      expect((await next.report()).diskGb.used).toBe(1);
      await begin(next);
      const finished = done.vmState === 'active' ? state : done.vmState;
      expect(await next.get(UUID)).toMatchObject({ ...done, vmState: finished });
      await next.terminate(UUID);
      expect(after.left()).toEqual([]);
    }
  });

  it('an unrescue leaves it unrescued', async () => {
    const { bench, node } = await launched();
    await RESCUE.begin(node);
    bench.faults.add({ at: 'unrescue', hang: 'deaf' });
    const cut = node.unrescue(UUID).catch(() => undefined);
    await bench.faults.reached('unrescue');
    const after = kill9(bench);
    bench.faults.release();
    await cut;
    const next = await after.open();
    expect(next.recoveries[0]?.reason).toBe('its unrescue was interrupted and is finished');
    expect(await next.get(UUID)).toMatchObject({ vmState: 'active', powerState: 'running' });
    expect(files(after)).toEqual(OWN);
  });
});

describe('a rescue or rebuild that fails or is aborted', () => {
  it.each(POINTS)('at %s leaves it whole, running', async (at, { begin, done }, outcome) => {
    const { bench, node } = await launched();
    bench.faults.add({ at, fail: new ComputeError('NO_SPACE', 'no space') });
    await expect(begin(node)).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(await node.get(UUID)).toMatchObject(
      outcome === 'old' ? { vmState: 'active', imageId: 'image' } : done,
    );
    expect(files(bench)).toEqual(OWN);
    await begin(node);
    expect(await node.get(UUID)).toMatchObject(done);
    const again = kill9(bench);
    expect(await (await again.open()).get(UUID)).toMatchObject(done);
  });

  it.each(['rescue.disk', 'rescue.stop', 'rescue.start'] as const)('is aborted at %s', async (at) => {
    const { bench, node } = await launched();
    bench.faults.add({ at, hang: 'abortable' });
    const controller = new AbortController();
    const rescue = node.rescue(UUID, { signal: controller.signal, shutdownTimeoutMs: 0 });
    await bench.faults.reached(at);
    controller.abort();
    await expect(rescue).rejects.toMatchObject({ code: 'ABORTED', operation: 'rescue' });
    expect(await node.get(UUID)).toMatchObject({ vmState: 'active', task: undefined });
    expect(files(bench)).toEqual(OWN);
  });

  it('is undone by the next operation where it could not be undone at once', async () => {
    const { bench, node } = await launched();
    bench.faults.add({ at: 'rescue.start', fail: new ComputeError('START_FAILED', 'no') });
    bench.faults.add({ at: 'rescue.undo', fail: new ComputeError('CONNECTION_LOST', 'away') });
    bench.faults.add({ at: 'unrescue', fail: new ComputeError('HYPERVISOR', 'no'), times: 2 });
    await expect(RESCUE.begin(node)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect(bench.hypervisor.rescued.has(UUID)).toBe(true);
    await expect(node.reboot(UUID, 'hard')).rejects.toMatchObject({ code: 'HYPERVISOR' });
    // Not forgotten by the operation that could not begin.
    const next = await kill9(bench).open();
    expect(next.recoveries[0]?.reason).toBe('its rescue was interrupted and is undone');
    await node.reboot(UUID, 'hard');
    expect(bench.hypervisor.rescued.has(UUID)).toBe(false);
    expect(await node.get(UUID)).toMatchObject({ vmState: 'active', powerState: 'running' });
    expect(files(bench)).toEqual(OWN);
  });

  it('is as it was where an unrescue is aborted before it begins, and unrescued where it fails later', async () => {
    const { bench, node } = await launched();
    await RESCUE.begin(node);
    bench.faults.add({ at: 'unrescue', hang: 'abortable' });
    const controller = new AbortController();
    const unrescue = node.unrescue(UUID, { signal: controller.signal });
    await bench.faults.reached('unrescue');
    controller.abort();
    await expect(unrescue).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await node.get(UUID)).vmState).toBe('rescued');
    bench.faults.add({ at: 'unrescue', fail: new ComputeError('HYPERVISOR', 'broken') });
    await expect(node.unrescue(UUID)).rejects.toMatchObject({ code: 'HYPERVISOR' });
    expect(await node.get(UUID)).toMatchObject({ vmState: 'active', powerState: 'running' });
  });
});

describe('a node', () => {
  it('knows what is rescued over restarts, refuses what Nova refuses then, and ends it', async () => {
    const { bench, node } = await launched({
      flavor: { vcpus: 1, memoryMb: 512, rootGb: 1, ephemeralGb: 1 },
    });
    expect((await node.get(UUID)).vmState).toBe('active');
    await node.rescue(UUID);
    await node.rescue(UUID);
    const after = kill9(bench);
    const next = await after.open();
    expect(existsSync(join(after.path, UUID, 'disk.rescue'))).toBe(true);
    await next.manageImageCache();
    expect(after.hypervisor.images.has('image')).toBe(true);
    const volume = { driverVolumeType: 'file', data: { path: '/volumes/a', format: 'raw' } } as const;
    for (const refused of [
      next.rescue(UUID, { image: image('other') }),
      next.rebuild(UUID, { image: image('other') }),
      next.pause(UUID),
      next.suspend(UUID),
      next.resize(UUID, { vcpus: 2, memoryMb: 512 }),
      next.snapshot(UUID, { type: 'glance' }),
      next.migrate(UUID, 'elsewhere'),
      next.attachVolume(UUID, volume),
      next.attachInterface(UUID),
      next.detachInterface(UUID, request().uuid ?? ''),
    ]) {
      await expect(refused).rejects.toMatchObject({ code: 'INVALID_STATE', instanceUuid: UUID });
    }
    await next.reboot(UUID, 'hard');
    await next.shutdown(UUID, { shutdownTimeoutMs: 0 });
    expect(await next.get(UUID)).toMatchObject({ vmState: 'rescued', powerState: 'shutdown' });
    await next.start(UUID);
    expect(after.hypervisor.rescued.has(UUID)).toBe(true);
    await next.terminate(UUID);
    expect(after.left()).toEqual([]);
  });

  it('refuses a rescue and a rebuild of what is unknown, paused or suspended, and wrong requests', async () => {
    const { node } = await launched();
    const unknown = '11111111-2222-4333-8444-555555555555';
    for (const { begin } of [RESCUE, REBUILD]) {
      await node.pause(UUID);
      await expect(begin(node)).rejects.toMatchObject({ code: 'INVALID_STATE' });
      await node.unpause(UUID);
      await node.suspend(UUID);
      await expect(begin(node)).rejects.toMatchObject({ code: 'INVALID_STATE' });
      await node.resume(UUID);
    }
    await expect(node.rescue(unknown)).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
    await expect(node.unrescue(unknown)).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
    const wrong = node.rebuild(UUID, { image: image('new'), flavor: 'x' } as never);
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', operation: 'rebuild' });
    const small = node.rebuild(UUID, { image: image('new', { minDiskGb: 5 }) });
    await expect(small).rejects.toMatchObject({ code: 'FLAVOR_DISK_TOO_SMALL', operation: 'rebuild' });
    expect(await node.get(UUID)).toMatchObject({ vmState: 'active', imageId: 'image' });
  });

  it('claims the disk that a new image needs where the flavor leaves it to the image', async () => {
    const { bench, node } = await launched({ flavor: { vcpus: 1, memoryMb: 512, rootGb: 0 } });
    expect((await node.report()).diskGb.used).toBe(0);
    const huge = node.rebuild(UUID, { image: image('huge', { minDiskGb: 1000 }) });
    await expect(huge).rejects.toMatchObject({ code: 'CLAIM_REFUSED' });
    await node.rebuild(UUID, { image: image('big', { minDiskGb: 50 }), name: 'renamed' });
    expect((await node.report()).diskGb.used).toBe(50);
    const next = await kill9(bench).open();
    expect((await next.report()).diskGb.used).toBe(50);
    expect(await next.get(UUID)).toMatchObject({ imageId: 'big', displayName: 'renamed' });
    bench.faults.add({ at: 'rebuild.disk', fail: new Error('broken') });
    await expect(node.rebuild(UUID, { image: image('bigger', { minDiskGb: 90 }) })).rejects.toThrow('broken');
    expect((await node.report()).diskGb.used).toBe(50);
    await node.rebuild(UUID, { image: image('small') });
    expect((await node.report()).diskGb.used).toBe(0);
  });

  it('is not rescued with a drive that it does not have, or not in that format', async () => {
    const { bench, node } = await launched();
    const nocloud = node.rescue(UUID, { configDrive: { format: 'nocloud' } });
    await expect(nocloud).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const wrong = node.rescue(UUID, { configDrive: { adminPassword: '' } });
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(files(bench)).toEqual(OWN);
    await node.terminate(UUID);
    const { configDrive: _none, ...without } = request();
    await node.launch(without);
    await expect(node.rescue(UUID, { configDrive: {} })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await node.get(UUID)).toMatchObject({ powerState: 'running', vmState: 'active' });
  });

  it('does two of them one after the other, and a termination cuts them short', async () => {
    const { bench, node } = await launched();
    const [rescued, rebuilt] = await Promise.allSettled([RESCUE.begin(node), REBUILD.begin(node)]);
    expect([rescued.status, rebuilt.status]).toEqual(['fulfilled', 'rejected']);
    await node.unrescue(UUID);
    bench.faults.add({ at: 'rebuild.stop', hang: 'abortable' });
    const cut = REBUILD.begin(node);
    await bench.faults.reached('rebuild.stop');
    const terminated = node.terminate(UUID);
    await expect(cut).rejects.toMatchObject({ code: 'ABORTED' });
    await terminated;
    expect(bench.left()).toEqual([]);
  });
});
