// A host that went down: what ran before is started again where the node is told so, what was stopped stays so.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { FakeHypervisor } from '../../src/index.js';
import { makeBench, request, UUID } from './node-harness.js';

const OTHER = '0e0c7c1a-7d1f-4e52-9f0e-2b1a3c4d5e6f';
const SLEEPER = '1e0c7c1a-7d1f-4e52-9f0e-2b1a3c4d5e6f';
const DONE = '2e0c7c1a-7d1f-4e52-9f0e-2b1a3c4d5e6f';

async function hostWithFour() {
  const hypervisor = new FakeHypervisor({ vcpus: 8, memoryMb: 16_384, localGb: 100 });
  const bench = makeBench(hypervisor);
  const node = await bench.open();
  for (const uuid of [UUID, OTHER, SLEEPER, DONE]) await node.launch(request({ uuid }));
  await node.shutdown(OTHER);
  await node.suspend(SLEEPER);
  hypervisor.stop(DONE, 'shutdown');
  await vi.waitFor(async () => expect((await node.get(DONE)).powerState).toBe('shutdown'));
  await node.close();
  hypervisor.stop(UUID, 'destroyed');
  return { bench, hypervisor };
}

const states = async (node: Awaited<ReturnType<ReturnType<typeof makeBench>['open']>>) =>
  Object.fromEntries((await node.list()).map(({ uuid, powerState }) => [uuid, powerState]));

it('starts what ran, once, and leaves alone what was shut down, suspended, or shut itself down', async () => {
  const { bench } = await hostWithFour();
  const node = await bench.open({ resumeGuestsOnHostBoot: true });
  const expected = { [UUID]: 'running', [OTHER]: 'shutdown', [SLEEPER]: 'suspended', [DONE]: 'shutdown' };
  expect(await states(node)).toEqual(expected);
  expect(node.recoveries.find(({ uuid }) => uuid === UUID)?.reason).toMatch(/started again/);
  await node.close();
  const again = await bench.open({ resumeGuestsOnHostBoot: true });
  expect(await states(again)).toEqual(expected);
  expect(again.recoveries.find(({ uuid }) => uuid === UUID)?.reason).toMatch(/complete, it is running/);
});

it('starts nothing without the option, and what was started since counts as running', async () => {
  const { bench, hypervisor } = await hostWithFour();
  const node = await bench.open();
  expect((await states(node))[UUID]).toBe('shutdown');
  await node.start(OTHER);
  await node.close();
  hypervisor.stop(OTHER, 'destroyed');
  const again = await bench.open({ resumeGuestsOnHostBoot: true });
  expect(await states(again)).toMatchObject({ [UUID]: 'running', [OTHER]: 'running' });
});

it('tells of one that does not start, and adopts it', async () => {
  const { bench } = await hostWithFour();
  bench.faults.add({ at: 'resumeStateOnHostBoot', fail: new Error('planted') });
  const node = await bench.open({ resumeGuestsOnHostBoot: true });
  expect(node.recoveries.find(({ uuid }) => uuid === UUID)).toMatchObject({
    action: 'adopted',
    reason: expect.stringMatching(/starting it failed.*planted/),
  });
  expect((await states(node))[UUID]).toBe('shutdown');
});

it('starts one again whose volume was being attached, with the volume settled first', async () => {
  for (const fails of [false, true]) {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    const connection = { driverVolumeType: 'file', data: { path: '/volumes/a', format: 'raw' } };
    await node.close();
    const device = { kind: 'volume', connection };
    const line = JSON.stringify({ at: new Date().toISOString(), event: 'device', device });
    appendFileSync(join(bench.path, 'journal', UUID), `${line}\n`);
    bench.hypervisor.stop(UUID, 'destroyed');
    if (fails) bench.faults.add({ at: 'detachVolume', fail: new Error('planted') });
    const next = await bench.open({ resumeGuestsOnHostBoot: true });
    expect(next.recoveries).toMatchObject([
      {
        action: 'adopted',
        reason: expect.stringMatching(
          fails ? /could not be settled: .*planted.*started again/ : /interrupted: .*started again/,
        ),
      },
    ]);
    expect((await states(next))[UUID]).toBe('running');
    await next.close();
    // In doubt for as long as it was not settled, and no longer.
    const last = await bench.open();
    expect(last.recoveries[0]?.reason).toMatch(
      fails ? /an attachment was interrupted/ : /^its launch was complete/,
    );
  }
});
