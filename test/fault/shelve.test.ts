// Shelving through a node whose driver takes snapshots: states, claims, and what a kill or a failure leaves.
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  ComputeError,
  type ComputeNode,
  FakeDriver,
  type FakeDriverOptions,
  type Instance,
  registerDriver,
} from '../../src/index.js';
import { type Bench, kill9, makeBench, request, UUID } from './node-harness.js';

const snapshots: string[] = [];
let failure: ComputeError | undefined;
let hang: () => Promise<void> = async () => undefined;

class SnapshotDriver extends FakeDriver {
  override readonly capabilities = { ...new FakeDriver().capabilities, snapshot: true };
  override async snapshot({ uuid }: Instance, imageId: string): Promise<void> {
    if ((await this.getInfo(uuid)).powerState !== 'shutdown') throw new Error('it runs');
    await hang();
    if (failure) throw failure;
    snapshots.push(imageId);
  }
}
registerDriver('test.SnapshotDriver', (options) => new SnapshotDriver(options as FakeDriverOptions));

const open = (bench: Bench): Promise<ComputeNode> => bench.open({ driver: 'test.SnapshotDriver' });
const IMAGE = { ...request().image, id: 'shelf' };
const used = async (node: ComputeNode): Promise<number[]> => {
  const { vcpus, memoryMb, diskGb } = await node.report();
  return [vcpus.used, memoryMb.used, diskGb.used];
};

async function launched(): Promise<{ bench: Bench; node: ComputeNode }> {
  failure = undefined;
  hang = async () => undefined;
  const bench = makeBench();
  const node = await open(bench);
  await node.launch(request());
  return { bench, node };
}

describe('an instance', () => {
  it('is shelved where it stands, with its claim, and started again', async () => {
    const { bench, node } = await launched();
    const image = await node.shelve(UUID, { shutdownTimeoutMs: 0 });
    expect(image).toMatchObject({ name: 'guest-shelved', diskFormat: 'qcow2', source: { type: 'glance' } });
    expect(snapshots.at(-1)).toBe(image.id);
    expect(await node.shelve(UUID)).toEqual(image);
    expect(await node.get(UUID)).toMatchObject({ vmState: 'shelved', powerState: 'shutdown' });
    expect(await used(node)).toEqual([1, 512, 1]);
    for (const refused of [node.start(UUID), node.rescue(UUID), node.attachInterface(UUID)]) {
      await expect(refused).rejects.toMatchObject({ code: 'INVALID_STATE', details: { vmState: 'shelved' } });
    }
    const next = await kill9(bench).open({ driver: 'test.SnapshotDriver', resumeGuestsOnHostBoot: true });
    expect(await next.get(UUID)).toMatchObject({ vmState: 'shelved', powerState: 'shutdown' });
    await next.unshelve(UUID);
    await next.unshelve(UUID);
    expect(await next.get(UUID)).toMatchObject({
      vmState: 'active',
      powerState: 'running',
      imageId: 'image',
    });
  });

  it('leaves the host without a claim, is known over restarts, and comes back from its image', async () => {
    const { bench, node } = await launched();
    await expect(node.shelveOffload(UUID)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    const { macs, name } = await node.get(UUID);
    await node.shelve(UUID, { image: IMAGE, offload: true, shutdownTimeoutMs: 0 });
    await node.shelveOffload(UUID);
    expect(bench.left()).toEqual([`journal of ${UUID}`]);
    expect(await used(node)).toEqual([0, 0, 0]);
    const after = kill9(bench);
    const next = await open(after);
    expect(next.recoveries).toMatchObject([
      { action: 'adopted', reason: 'it is shelved, and not on this host' },
    ]);
    expect((await next.get(UUID)).vmState).toBe('shelved_offloaded');
    expect(await used(next)).toEqual([0, 0, 0]);
    await next.unshelve(UUID);
    expect(await next.get(UUID)).toMatchObject({
      vmState: 'active',
      powerState: 'running',
      imageId: 'shelf',
      macs,
      name,
    });
    expect(await used(next)).toEqual([1, 512, 1]);
    await next.terminate(UUID);
    expect(after.left()).toEqual([]);
  });

  it('stays shelved where there is no room or no start, and is terminated as it is', async () => {
    const { bench, node } = await launched();
    await node.shelve(UUID, { image: IMAGE, offload: true, shutdownTimeoutMs: 0 });
    const big = await node.launch(request({ uuid: randomUUID(), flavor: { vcpus: 1, memoryMb: 15_500 } }));
    await expect(node.unshelve(UUID)).rejects.toMatchObject({ code: 'CLAIM_REFUSED' });
    await node.terminate(big.instance.uuid);
    bench.faults.add({ at: 'spawn.start', fail: new ComputeError('START_FAILED', 'no') });
    await expect(node.unshelve(UUID)).rejects.toMatchObject({ code: 'START_FAILED' });
    expect((await node.get(UUID)).vmState).toBe('shelved_offloaded');
    expect(await used(node)).toEqual([0, 0, 0]);
    expect(bench.left()).toEqual([`journal of ${UUID}`]);
    await node.terminate(UUID);
    expect(bench.left()).toEqual([]);
  });

  it('runs on where its snapshot fails, also after a kill, and where the driver takes none', async () => {
    const { bench, node } = await launched();
    failure = new ComputeError('NO_SPACE', 'Glance is full');
    await expect(node.shelve(UUID, { shutdownTimeoutMs: 0 })).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(await node.get(UUID)).toMatchObject({ vmState: 'active', powerState: 'running' });
    let fail: (error: Error) => void = () => undefined;
    hang = () =>
      new Promise((_resolve, reject) => {
        fail = reject;
      });
    const cut = node.shelve(UUID, { shutdownTimeoutMs: 0 }).catch(() => undefined);
    await expect.poll(() => bench.hypervisor.domains.get(UUID)?.state).toBe('shutdown');
    const after = kill9(bench);
    const next = await open(after);
    expect(next.recoveries[0]?.reason).toBe('its shelve was interrupted and is undone');
    expect(await next.get(UUID)).toMatchObject({ vmState: 'active', powerState: 'running' });
    fail(new Error('over'));
    await cut;
    const plain = await kill9(after).open();
    await expect(plain.shelve(UUID)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

describe('a process killed within', () => {
  it('an offload takes it off, within an unshelve leaves it shelved', async () => {
    const { bench, node } = await launched();
    await node.shelve(UUID, { image: IMAGE, shutdownTimeoutMs: 0 });
    bench.faults.add({ at: 'destroy', hang: 'deaf' });
    const offload = node.shelveOffload(UUID);
    await bench.faults.reached('destroy');
    const after = kill9(bench);
    bench.faults.release();
    await offload;
    const next = await open(after);
    expect(next.recoveries[0]?.reason).toBe('its offload was interrupted and is finished');
    expect(after.left()).toEqual([`journal of ${UUID}`]);
    after.faults.add({ at: 'spawn.start', hang: 'deaf' });
    const unshelve = next.unshelve(UUID);
    await after.faults.reached('spawn.start');
    const last = kill9(after);
    after.faults.release();
    await unshelve;
    const final = await open(last);
    expect(final.recoveries[0]?.reason).toBe('its unshelve was interrupted and is undone');
    expect((await final.get(UUID)).vmState).toBe('shelved_offloaded');
    expect([await used(final), last.left()]).toEqual([[0, 0, 0], [`journal of ${UUID}`]]);
    await final.unshelve(UUID);
    expect((await final.get(UUID)).vmState).toBe('active');
  });
});
