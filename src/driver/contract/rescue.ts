// Rescued and brought back, rebuilt; cut short on the way: always in its old or its new state.
import assert from 'node:assert/strict';
import { ComputeError } from '../errors.js';
import type { Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

export function defineRescue(bench: ContractBench): void {
  const { before, after } = bench.contract;
  const made: { instance?: Instance } = {};
  const launched = (): Instance => {
    assert.ok(made.instance, 'the launch before these tests failed');
    return made.instance;
  };

  before(async () => {
    made.instance = await bench.contract.makeInstance();
    await bench.driver.spawn(made.instance, { timeoutMs: bench.spawnMs });
  }, bench.spawnMs);

  after(async () => {
    if (made.instance) await bench.driver.destroy(made.instance, { timeoutMs: bench.spawnMs });
  }, bench.spawnMs);

  defineRescued(bench, launched);
  defineRebuilt(bench, launched);
  defineRescueEnd(bench, launched);
}

/** One more than it has of its own while it is rescued; undefined where the driver tells no figures. */
async function disksOf(bench: ContractBench, { uuid }: Instance): Promise<number | undefined> {
  if (!bench.driver.capabilities.diagnostics) return undefined;
  return (await bench.driver.getDiagnostics(uuid)).numDisks;
}

async function assertDisks(bench: ContractBench, instance: Instance, count?: number): Promise<void> {
  await bench.assertState(instance, 'running');
  assert.equal(await disksOf(bench, instance), count, 'it has other disks than it should');
}

function defineRescued(bench: ContractBench, launched: () => Instance): void {
  const { it } = bench.contract;

  it(
    'is rescued, stays so over stop, start and reboot, and is unrescued',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.rescue) return;
      const one = launched();
      const own = await disksOf(bench, one);
      const more = own === undefined ? undefined : own + 1;
      await driver.rescue(one, one.image, { shutdownTimeoutMs: bench.shutdownMs });
      await assertDisks(bench, one, more);
      await expectError(driver.rescue(one, one.image), ['INVALID_STATE']);
      if (driver.capabilities.rebuild) {
        await expectError(driver.rebuild(one, one.image), ['INVALID_STATE']);
      }
      if (driver.capabilities.attachInterface && one.vifs[0]) {
        await expectError(driver.detachInterface(one, one.vifs[0]), ['INVALID_STATE']);
      }
      await driver.powerOff(one.uuid);
      await driver.powerOn(one);
      await assertDisks(bench, one, more);
      await driver.reboot(one, 'hard');
      await assertDisks(bench, one, more);
      await driver.unrescue(one);
      await assertDisks(bench, one, own);
      const { domainId } = await driver.getInfo(one.uuid);
      await driver.unrescue(one);
      assert.equal((await driver.getInfo(one.uuid)).domainId, domainId, 'it was started anew');
    },
    bench.spawnMs * 2,
  );

  it(
    'is rescued when it is stopped too; unrescued it runs, or not where that is not wanted',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.rescue) return;
      const one = launched();
      await driver.powerOff(one.uuid);
      await driver.rescue(one, one.image);
      await bench.assertState(one, 'running');
      await driver.unrescue(one, { powerOn: false });
      await bench.assertState(one, 'shutdown');
      await driver.rescue(one, one.image);
      await driver.unrescue(one);
      await bench.assertState(one, 'running');
    },
    bench.spawnMs * 2,
  );

  it(
    'is neither rescued nor rebuilt while it is paused or suspended',
    async () => {
      const { driver } = bench;
      const one = launched();
      const refused = async (): Promise<void> => {
        if (driver.capabilities.rescue) await expectError(driver.rescue(one, one.image), ['INVALID_STATE']);
        if (driver.capabilities.rebuild) await expectError(driver.rebuild(one, one.image), ['INVALID_STATE']);
      };
      if (driver.capabilities.pause) {
        await driver.pause(one.uuid);
        await refused();
        await driver.unpause(one.uuid);
      }
      if (driver.capabilities.suspend) {
        await driver.suspend(one.uuid);
        await refused();
        await driver.resume(one);
      }
      await bench.assertState(one, 'running');
    },
    bench.spawnMs,
  );

  it(
    'runs as before, with its own disks, when its rescue is aborted',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.rescue) return;
      const one = launched();
      const own = await disksOf(bench, one);
      const signal = AbortSignal.abort(new Error('changed my mind'));
      const { domainId } = await driver.getInfo(one.uuid);
      await expectError(driver.rescue(one, one.image, { signal }), ['ABORTED']);
      assert.equal((await driver.getInfo(one.uuid)).domainId, domainId, 'it was started anew');
      for (const delayMs of [1, 5, 20]) {
        const controller = new AbortController();
        setTimeout(() => controller.abort(), delayMs);
        const rescued = await rejection(driver.rescue(one, one.image, { signal: controller.signal }));
        // A quick driver may be done before the signal fires.
        if (rescued === undefined) await driver.unrescue(one);
        else assert.equal(rescued.code, 'ABORTED');
        await assertDisks(bench, one, own);
      }
    },
    bench.spawnMs * 2,
  );
}

function defineRebuilt(bench: ContractBench, launched: () => Instance): void {
  const { it } = bench.contract;

  it(
    'is rebuilt in announced steps, and runs where it ran',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.rebuild) return;
      const one = launched();
      const own = await disksOf(bench, one);
      const { domainId } = await driver.getInfo(one.uuid);
      const steps: string[] = [];
      const onStep = (step: string): void => {
        steps.push(step);
      };
      const result = await driver.rebuild(one, one.image, { shutdownTimeoutMs: bench.shutdownMs, onStep });
      assert.deepEqual(steps.slice(0, 2), ['image', 'definition']);
      assert.equal(result.info.uuid, one.uuid);
      assert.equal(result.info.powerState, 'running');
      assert.notEqual(result.info.domainId, domainId, 'it was not started anew');
      await assertDisks(bench, one, own);
      await driver.powerOff(one.uuid);
      await driver.rebuild(one, one.image);
      await bench.assertState(one, 'shutdown');
      await driver.powerOn(one);
      await assertDisks(bench, one, own);
    },
    bench.spawnMs * 2,
  );

  it(
    'is as it was when its rebuild is refused, aborted or settled before the new disks take their place',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.rebuild) return;
      const one = launched();
      const own = await disksOf(bench, one);
      for (const refused of ['image', 'definition']) {
        const onStep = async (step: string): Promise<void> => {
          if (step === refused) throw new ComputeError('NO_SPACE', 'the journal has no room');
        };
        await expectError(driver.rebuild(one, one.image, { onStep }), ['NO_SPACE']);
        await assertDisks(bench, one, own);
      }
      const controller = new AbortController();
      const onStep = (step: string): void => {
        if (step === 'definition') controller.abort();
      };
      const { signal } = controller;
      await expectError(driver.rebuild(one, one.image, { signal, onStep }), ['ABORTED']);
      await assertDisks(bench, one, own);
      const { domainId } = await driver.getInfo(one.uuid);
      await driver.settleRebuild(one, 'old');
      await driver.settleRebuild(one, 'new');
      assert.equal((await driver.getInfo(one.uuid)).domainId, domainId, 'it was started anew');
    },
    bench.spawnMs * 2,
  );
}

function defineRescueEnd(bench: ContractBench, launched: () => Instance): void {
  bench.contract.it(
    'leaves nothing when it is destroyed rescued',
    async () => {
      const { driver } = bench;
      const one = launched();
      if (driver.capabilities.rescue) await driver.rescue(one, one.image);
      await driver.destroy(one);
      await bench.assertNothingLeft(one);
      if (driver.capabilities.rescue) await expectError(driver.unrescue(one), ['INSTANCE_NOT_FOUND']);
    },
    bench.spawnMs,
  );
}

async function rejection(call: Promise<unknown>): Promise<ComputeError | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    assert.ok(ComputeError.is(error), `rejected with something that is no ComputeError: ${String(error)}`);
    return error;
  }
}
