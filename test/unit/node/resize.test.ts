// Resize of a node on a fake machine: claims, states, what is allowed meanwhile, confirm, revert, and change while it runs.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { ComputeError, type ComputeNode, FakeDriver, registerDriver } from '../../../src/index.js';
import { type Bench, collect, makeBench, RESIZE_POINTS, request, UUID } from '../../fault/node-harness.js';

const LARGER = { name: 'larger', vcpus: 2, memoryMb: 1024, rootGb: 3 };
const HEADROOM = { 'node_compute:max_vcpus': '4', 'node_compute:max_memory_mb': '2048' };

async function used(node: ComputeNode): Promise<number[]> {
  const { vcpus, memoryMb, diskGb } = await node.report();
  return [vcpus.used, memoryMb.used, diskGb.used];
}

async function launched(overrides = {}): Promise<{ bench: Bench; node: ComputeNode }> {
  const bench = makeBench();
  const node = await bench.open();
  await node.launch(request(overrides));
  return { bench, node };
}

const kept = (bench: Bench): string[] =>
  readdirSync(join(bench.path, UUID)).filter((name) => name.endsWith('.resize'));

describe('resize', () => {
  it('waits in VERIFY_RESIZE with both flavors claimed, also after a restart, until it is confirmed', async () => {
    const { bench, node } = await launched();
    const seen = collect(node);
    await node.resize(UUID, LARGER);
    const view = await node.get(UUID);
    expect(view).toMatchObject({
      powerState: 'running',
      flavor: LARGER,
      resize: { phase: 'verify', oldFlavor: { vcpus: 1, memoryMb: 512 }, newFlavor: LARGER },
    });
    expect(await used(node)).toEqual([3, 1536, 4]);
    expect(kept(bench)).toEqual(['disk.resize']);
    await node.close();
    const next = await bench.open();
    expect((await next.get(UUID)).resize).toEqual(view.resize);
    expect(await used(next)).toEqual([3, 1536, 4]);
    await next.confirmResize(UUID);
    expect(await next.get(UUID)).toMatchObject({ flavor: LARGER, resize: undefined });
    expect(await used(next)).toEqual([2, 1024, 3]);
    expect(kept(bench)).toEqual([]);
    await next.close();
    const last = await bench.open();
    expect(await last.get(UUID)).toMatchObject({ flavor: LARGER, resize: undefined, powerState: 'running' });
    expect(await used(last)).toEqual([2, 1024, 3]);
    await last.terminate(UUID);
    expect(bench.left()).toEqual([]);
    expect(seen.map(({ type }) => type)).toContain('resized');
  });

  it('is reverted to what it was, running only where it ran', async () => {
    for (const stopped of [false, true]) {
      const { bench, node } = await launched();
      if (stopped) await node.shutdown(UUID);
      await node.resize(UUID, LARGER);
      if (stopped) await node.start(UUID);
      await node.revertResize(UUID);
      expect(await node.get(UUID)).toMatchObject({
        powerState: stopped ? 'shutdown' : 'running',
        flavor: { vcpus: 1, memoryMb: 512, rootGb: 1 },
        resize: undefined,
      });
      expect(await used(node)).toEqual([1, 512, 1]);
      expect(kept(bench)).toEqual([]);
      expect(bench.hypervisor.resizes.size).toBe(0);
    }
  });

  it('is confirmed at once where the caller wants that, and after its window where nobody did', async () => {
    const { node } = await launched();
    await node.resize(UUID, LARGER, { autoConfirm: true });
    expect((await node.get(UUID)).resize).toBeUndefined();
    expect(await used(node)).toEqual([2, 1024, 3]);

    const bench = makeBench();
    const waiting = await bench.open({ resizeConfirmWindowMs: 50 });
    await waiting.launch(request());
    await waiting.resize(UUID, LARGER);
    await vi.waitFor(async () => expect((await waiting.get(UUID)).resize).toBeUndefined());
    expect((await waiting.get(UUID)).flavor).toMatchObject(LARGER);
  });

  it('changes nothing where its claim is refused, a disk would shrink, or the state is not right', async () => {
    const { bench, node } = await launched();
    const before = { ...bench.hypervisor.save() };
    const calls = [
      [() => node.resize(UUID, { vcpus: 1, memoryMb: 16_000, rootGb: 1 }), 'CLAIM_REFUSED'],
      [() => node.resize(UUID, { vcpus: 1, memoryMb: 512 }), 'FLAVOR_DISK_TOO_SMALL'],
      [() => node.confirmResize(UUID), 'INVALID_STATE'],
      [() => node.revertResize(UUID), 'INVALID_STATE'],
      [() => node.resize(UUID, { vcpus: 0, memoryMb: 512 }), 'INVALID_ARGUMENT'],
    ] as const;
    for (const [call, code] of calls) await expect(call()).rejects.toMatchObject({ code });
    expect(bench.hypervisor.save()).toEqual(before);
    expect(await used(node)).toEqual([1, 512, 1]);
    for (const make of [() => node.pause(UUID), () => node.suspend(UUID)]) {
      await make();
      await expect(node.resize(UUID, LARGER)).rejects.toMatchObject({ code: 'INVALID_STATE' });
      expect((await node.get(UUID)).resize).toBeUndefined();
      if ((await node.get(UUID)).powerState === 'paused') await node.unpause(UUID);
    }
  });

  it('refuses what Nova refuses of a resized instance, and does the rest', async () => {
    const { bench, node } = await launched({ networks: [{}] });
    await node.resize(UUID, LARGER);
    const volume = { driverVolumeType: 'file', data: { path: '/volume', format: 'raw' } } as const;
    const refused = [
      () => node.resize(UUID, LARGER),
      () => node.liveResize(UUID, { memoryMb: 100 }),
      () => node.suspend(UUID),
      () => node.snapshot(UUID, { type: 'glance' }),
      () => node.migrate(UUID, 'elsewhere'),
      () => node.attachVolume(UUID, volume),
      () => node.attachInterface(UUID),
    ];
    for (const call of refused) {
      await expect(call()).rejects.toMatchObject({ code: 'INVALID_STATE', details: { resize: 'verify' } });
    }
    await node.pause(UUID);
    await node.unpause(UUID);
    await node.shutdown(UUID);
    await node.start(UUID);
    await node.reboot(UUID, 'hard');
    expect(bench.hypervisor.domains.get(UUID)?.instance.flavor).toMatchObject(LARGER);
    await node.terminate(UUID);
    expect(bench.left()).toEqual([]);
    expect(await used(node)).toEqual([0, 0, 0]);
  });

  it('is taken back where it fails or is aborted at any stage', async () => {
    const { bench, node } = await launched();
    for (const at of RESIZE_POINTS) {
      bench.faults.add({ at, fail: new ComputeError('NO_SPACE', 'planted') });
      await expect(node.resize(UUID, LARGER)).rejects.toMatchObject({ code: 'NO_SPACE' });
      bench.faults.add({ at, hang: 'abortable' });
      const controller = new AbortController();
      const resize = node.resize(UUID, LARGER, { signal: controller.signal });
      await bench.faults.reached(at);
      controller.abort();
      await expect(resize).rejects.toMatchObject({ code: 'ABORTED' });
      expect(await node.get(UUID)).toMatchObject({
        powerState: 'running',
        flavor: { vcpus: 1 },
        resize: undefined,
      });
      expect(bench.hypervisor.domains.get(UUID)?.instance.flavor.vcpus).toBe(1);
      expect(await used(node)).toEqual([1, 512, 1]);
      expect([kept(bench), bench.hypervisor.resizes.size]).toEqual([[], 0]);
    }
  });

  it('is cut short by terminate, and leaves nothing', async () => {
    const { bench, node } = await launched();
    bench.faults.add({ at: 'finishMigration.defined', hang: 'abortable' });
    const resize = node.resize(UUID, LARGER).catch((error: unknown) => error);
    await bench.faults.reached('finishMigration.defined');
    await node.terminate(UUID);
    expect(await resize).toMatchObject({ code: 'ABORTED' });
    expect(bench.left()).toEqual([]);
    expect(await used(node)).toEqual([0, 0, 0]);
  });

  it('that cannot be taken back keeps both claims and can be reverted later, or by the next start', async () => {
    const { bench, node } = await launched();
    bench.faults.add({ at: 'finishMigration', fail: new ComputeError('NO_SPACE', 'planted') });
    bench.faults.add({ at: 'finishRevertMigration', fail: new Error('planted'), times: 2 });
    await expect(node.resize(UUID, LARGER)).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect((await node.get(UUID)).resize?.phase).toBe('reverting');
    expect(await used(node)).toEqual([3, 1536, 4]);
    await expect(node.start(UUID)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(node.confirmResize(UUID)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(node.revertResize(UUID)).rejects.toMatchObject({ code: 'HYPERVISOR' });
    await node.close();
    const next = await bench.open();
    expect(next.recoveries).toMatchObject([
      { action: 'adopted', reason: 'a resize was interrupted and is taken back' },
    ]);
    expect(await next.get(UUID)).toMatchObject({ powerState: 'running', resize: undefined });
    expect(await used(next)).toEqual([1, 512, 1]);
  });

  it('waits for a hypervisor that went away in the middle', async () => {
    const { bench, node } = await launched();
    const lost = new ComputeError('CONNECTION_LOST', 'planted', { retryable: true });
    bench.faults.add({ at: 'finishMigration.defined', fail: lost });
    bench.faults.add({ at: 'finishRevertMigration', fail: lost });
    await expect(node.resize(UUID, LARGER)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect(await node.get(UUID)).toMatchObject({ powerState: 'running', resize: undefined });
  });

  it('is UNSUPPORTED with a driver that cannot, and changes nothing', async () => {
    class Fixed extends FakeDriver {
      override readonly capabilities = { ...new FakeDriver().capabilities, resize: false, liveResize: false };
    }
    registerDriver('test.Fixed', (options) => new Fixed(options as object));
    const node = await makeBench().open({ driver: 'test.Fixed' });
    await node.launch(request());
    await expect(node.resize(UUID, LARGER)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(node.liveResize(UUID, { vcpus: 1 })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(await used(node)).toEqual([1, 512, 1]);
  });
});

describe('live resize', () => {
  const flavor = { vcpus: 1, memoryMb: 512, rootGb: 1, extraSpecs: HEADROOM };

  it('moves the claim and the flavor, also after a restart', async () => {
    const { bench, node } = await launched({ flavor });
    await node.liveResize(UUID, { memoryMb: 1024 });
    await node.liveResize(UUID, { vcpus: 3 });
    expect(await used(node)).toEqual([3, 1024, 1]);
    await node.liveResize(UUID, { memoryMb: 256, vcpus: 2 });
    expect(await used(node)).toEqual([2, 256, 1]);
    expect(await node.get(UUID)).toMatchObject({ flavor: { vcpus: 2, memoryMb: 256 }, resize: undefined });
    await node.close();
    const next = await bench.open();
    expect(await next.get(UUID)).toMatchObject({ flavor: { vcpus: 2, memoryMb: 256 }, resize: undefined });
    expect(await used(next)).toEqual([2, 256, 1]);
  });

  it('changes nothing where it is refused, fails or is aborted', async () => {
    const { bench, node } = await launched({ flavor });
    await expect(node.liveResize(UUID, { vcpus: 5 })).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(node.liveResize(UUID, { memoryMb: 16_000 })).rejects.toMatchObject({
      code: 'CLAIM_REFUSED',
    });
    await expect(node.liveResize(UUID, { vcpus: 0 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(node.liveResize(UUID, { cores: 2 } as object)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const failed = new ComputeError('LIVE_RESIZE_FAILED', 'planted', { retryable: true });
    bench.faults.add({ at: 'liveResize.changing', fail: failed });
    await expect(node.liveResize(UUID, { vcpus: 2 })).rejects.toMatchObject({ code: 'LIVE_RESIZE_FAILED' });
    bench.faults.add({ at: 'liveResize.changing', hang: 'abortable' });
    const controller = new AbortController();
    const change = node.liveResize(UUID, { vcpus: 2 }, { signal: controller.signal });
    await bench.faults.reached('liveResize.changing');
    expect(await used(node)).toEqual([2, 512, 1]);
    controller.abort();
    await expect(change).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await used(node)).toEqual([1, 512, 1]);
    expect(await node.get(UUID)).toMatchObject({ flavor: { vcpus: 1, memoryMb: 512 }, resize: undefined });
    await node.shutdown(UUID);
    await expect(node.liveResize(UUID, { vcpus: 2 })).rejects.toMatchObject({ code: 'INVALID_STATE' });
  });

  it('that nobody knows the end of stays to be reverted, and what the guest keeps is kept', async () => {
    const { bench, node } = await launched({ flavor });
    const lost = new ComputeError('CONNECTION_LOST', 'planted', { retryable: true });
    bench.faults.add({ at: 'liveResize.changing', fail: lost });
    await expect(node.liveResize(UUID, { vcpus: 3 })).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect((await node.get(UUID)).resize?.phase).toBe('live');
    expect(await used(node)).toEqual([3, 512, 1]);
    await node.revertResize(UUID);
    expect(await node.get(UUID)).toMatchObject({ flavor: { vcpus: 1 }, resize: undefined });
    expect(await used(node)).toEqual([1, 512, 1]);

    bench.faults.add({ at: 'liveResize.changing', fail: lost });
    await expect(node.liveResize(UUID, { vcpus: 3 })).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    bench.faults.add({ at: 'liveResize', fail: new ComputeError('UNSUPPORTED', 'planted') });
    await node.close();
    const next = await bench.open();
    expect(await next.get(UUID)).toMatchObject({ flavor: { vcpus: 3 }, resize: undefined });
    expect(await used(next)).toEqual([3, 512, 1]);
  });
});
