// kill -9 in the middle of a resize: the next start finds it in its old or its new flavor, and nothing left over.
import { cpSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type ComputeNode, FakeHypervisor, type FaultPoint } from '../../src/index.js';
import { type Bench, makeBench, RESIZE_POINTS, request, UUID } from './node-harness.js';

const OLD = { vcpus: 1, memoryMb: 512, rootGb: 1, extraSpecs: { 'node_compute:max_vcpus': '4' } };
const LARGER = { name: 'larger', vcpus: 2, memoryMb: 1024, rootGb: 3 };

/** The host as it is at this moment, on another path: what kill -9 would leave. */
function kill9(bench: Bench): Bench {
  const after = makeBench(FakeHypervisor.load(bench.hypervisor.save()));
  cpSync(bench.path, after.path, { recursive: true });
  return after;
}

async function launched(): Promise<{ bench: Bench; node: ComputeNode }> {
  const bench = makeBench();
  const node = await bench.open();
  await node.launch(request({ flavor: OLD }));
  return { bench, node };
}

/** What is left when the process dies at that point of the call. */
async function killedAt(bench: Bench, at: FaultPoint, call: () => Promise<void>): Promise<Bench> {
  bench.faults.add({ at, hang: 'deaf' });
  void call().catch(() => undefined);
  await bench.faults.reached(at);
  return kill9(bench);
}

async function expectWhole(after: Bench, flavor: object, powerState: string): Promise<void> {
  const node = await after.open();
  const [view] = await node.list();
  expect(view).toMatchObject({ flavor, powerState, resize: undefined });
  const { vcpus, memoryMb, diskGb } = await node.report();
  const { vcpus: cpus, memoryMb: memory, rootGb } = view?.flavor ?? OLD;
  expect([vcpus.used, memoryMb.used, diskGb.used]).toEqual([cpus, memory, rootGb]);
  expect(after.hypervisor.domains.get(UUID)?.instance.flavor).toMatchObject(flavor);
  expect(after.hypervisor.resizes.size).toBe(0);
  expect(readdirSync(join(after.path, UUID)).filter((name) => name.endsWith('.resize'))).toEqual([]);
  // It can be resized again, and is gone when it is terminated.
  await node.resize(UUID, { ...LARGER, rootGb: 4 }, { autoConfirm: true });
  await node.terminate(UUID);
  expect(after.left()).toEqual([]);
  await node.close();
}

describe('start-up after a kill in the middle of a resize', () => {
  it.each(RESIZE_POINTS)('takes it back from %s, running or stopped as it was', async (at) => {
    for (const stopped of [false, true]) {
      const { bench, node } = await launched();
      if (stopped) await node.shutdown(UUID);
      const after = await killedAt(bench, at, () => node.resize(UUID, LARGER));
      await expectWhole(after, OLD, stopped ? 'shutdown' : 'running');
    }
  });

  it.each(['confirmMigration', 'confirmMigration.dropped'] as const)(
    'finishes a confirmation from %s',
    async (at) => {
      const { bench, node } = await launched();
      await node.resize(UUID, LARGER);
      await expectWhole(await killedAt(bench, at, () => node.confirmResize(UUID)), LARGER, 'running');
    },
  );

  it.each([
    'finishRevertMigration',
    'finishRevertMigration.stopped',
    'finishRevertMigration.restored',
  ] as const)('finishes a revert from %s', async (at) => {
    const { bench, node } = await launched();
    await node.resize(UUID, LARGER);
    await expectWhole(await killedAt(bench, at, () => node.revertResize(UUID)), OLD, 'running');
  });

  it.each(['liveResize', 'liveResize.changing'] as const)(
    'takes a change of the running guest back from %s',
    async (at) => {
      const { bench, node } = await launched();
      await expectWhole(await killedAt(bench, at, () => node.liveResize(UUID, { vcpus: 3 })), OLD, 'running');
    },
  );

  it('waits on in VERIFY_RESIZE, and finishes what was under way there', async () => {
    const { bench, node } = await launched();
    await node.resize(UUID, LARGER);
    const after = await killedAt(bench, 'reboot', () => node.reboot(UUID, 'hard'));
    const next = await after.open();
    expect(await next.get(UUID)).toMatchObject({ powerState: 'running', resize: { phase: 'verify' } });
    await next.close();
    const stopped = await after.open();
    await stopped.revertResize(UUID);
    await stopped.close();
    await expectWhole(after, OLD, 'running');
  });

  it('reverts a resize whose domain the hypervisor has lost meanwhile', async () => {
    const { bench, node } = await launched();
    const after = await killedAt(bench, 'finishMigration', () => node.resize(UUID, LARGER));
    after.hypervisor.undefine(UUID);
    await expectWhole(after, OLD, 'running');
  });

  it('keeps a resize in a journal that is rewritten', async () => {
    const { bench, node } = await launched();
    await node.resize(UUID, LARGER);
    for (let round = 0; round < 700; round += 1) await node.reboot(UUID, 'hard');
    await node.close();
    const length = (): number => statSync(join(bench.path, 'journal', UUID)).size;
    expect(length()).toBeGreaterThan(64 * 1024);
    const next = await bench.open();
    await next.close();
    expect(length()).toBeLessThan(5000);
    const last = await bench.open();
    expect(await last.get(UUID)).toMatchObject({ flavor: LARGER, resize: { phase: 'verify' } });
    await last.close();
    await expectReverted(bench);
  });
});

async function expectReverted(bench: Bench): Promise<void> {
  const node = await bench.open();
  await node.revertResize(UUID);
  await node.close();
  await expectWhole(bench, OLD, 'running');
}
