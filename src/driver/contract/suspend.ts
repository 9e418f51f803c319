// Suspended to disk and brought back: by resume, by powerOn, after a boot of the host; thrown away by a hard reboot.
import assert from 'node:assert/strict';
import type { Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

/** What a domain of it has: root, ephemeral, swap, config drive. */
function disksOf({ flavor, configDrive, volumes = [] }: Instance): number {
  const others = [flavor.ephemeralGb > 0, flavor.swapMb > 0, configDrive !== undefined];
  return 1 + others.filter(Boolean).length + volumes.length;
}

export function defineSuspend(bench: ContractBench): void {
  const { it, before, after } = bench.contract;
  let instance: Instance | undefined;
  const launched = (): Instance => {
    assert.ok(instance, 'the launch before these tests failed');
    return instance;
  };

  before(async () => {
    instance = await bench.contract.makeInstance();
    await bench.driver.spawn(instance, { timeoutMs: bench.spawnMs });
  }, bench.spawnMs);

  after(async () => {
    if (instance) await bench.driver.destroy(instance, { timeoutMs: bench.spawnMs });
  }, bench.spawnMs);

  it(
    'suspends and resumes; being so already is success, other states are not',
    async () => {
      const { driver, log } = bench;
      if (!driver.capabilities.suspend) return;
      const one = launched();
      const { mark } = log;
      await driver.suspend(one.uuid);
      await bench.assertState(one, 'suspended');
      await log.lifecycle(one.uuid, 'stopped', bench.callMs, mark);
      await driver.suspend(one.uuid);
      for (const call of [
        () => driver.pause(one.uuid),
        () => driver.unpause(one.uuid),
        () => driver.powerOff(one.uuid),
      ]) {
        await expectError(call(), ['INVALID_STATE']);
      }
      // Its memory knows the devices that it had.
      if (driver.capabilities.attachInterface && one.vifs[0]) {
        await expectError(driver.detachInterface(one, one.vifs[0]), ['INVALID_STATE']);
      }
      await bench.assertState(one, 'suspended');
      const listed = (await driver.listInstances()).find(({ uuid }) => uuid === one.uuid);
      assert.equal(listed?.powerState, 'suspended');
      const resuming = log.mark;
      await driver.resume(one);
      await bench.assertState(one, 'running');
      await log.lifecycle(one.uuid, 'started', bench.callMs, resuming);
      await driver.resume(one);
      if (driver.capabilities.pause) {
        await driver.pause(one.uuid);
        await expectError(driver.suspend(one.uuid), ['INVALID_STATE']);
        await expectError(driver.resume(one), ['INVALID_STATE']);
        await driver.unpause(one.uuid);
      }
    },
    bench.callMs * 2,
  );

  it(
    'is brought back from its memory by powerOn, and boots anew after a hard reboot',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.suspend) return;
      const one = launched();
      await driver.suspend(one.uuid);
      await driver.powerOn(one);
      await bench.assertState(one, 'running');
      await driver.suspend(one.uuid);
      await driver.reboot(one, 'hard');
      await bench.assertState(one, 'running');
    },
    bench.callMs * 2,
  );

  it(
    'does nothing under a signal that has fired already, and tells its figures while it runs',
    async () => {
      const { driver } = bench;
      const one = launched();
      const signal = AbortSignal.abort(new Error('changed my mind'));
      if (driver.capabilities.suspend) {
        await expectError(driver.suspend(one.uuid, { signal }), ['ABORTED']);
        await expectError(driver.resume(one, { signal }), ['ABORTED']);
      }
      await bench.assertState(one, 'running');
      if (driver.capabilities.crashDump) await driver.triggerCrashDump(one.uuid);
      if (!driver.capabilities.diagnostics) return;
      const figures = await driver.getDiagnostics(one.uuid);
      assert.equal(figures.state, 'running');
      assert.deepEqual(
        [figures.numCpus, figures.numNics, figures.numDisks],
        [one.flavor.vcpus, one.vifs.length, disksOf(one)],
      );
      assert.deepEqual(
        figures.nicDetails.map(({ macAddress }) => macAddress),
        one.vifs.map(({ mac }) => mac),
      );
      assert.equal(figures.memoryDetails.maximumMib, one.flavor.memoryMb);
    },
    bench.callMs,
  );

  it(
    'is started again after a boot of its host, and left alone where it runs or is paused',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.resumeOnHostBoot) return;
      const one = launched();
      await driver.powerOff(one.uuid);
      if (driver.capabilities.suspend) await expectError(driver.suspend(one.uuid), ['INVALID_STATE']);
      if (driver.capabilities.suspend) await expectError(driver.resume(one), ['INVALID_STATE']);
      if (driver.capabilities.crashDump) {
        await expectError(driver.triggerCrashDump(one.uuid), ['INVALID_STATE']);
      }
      if (driver.capabilities.diagnostics) {
        await expectError(driver.getDiagnostics(one.uuid), ['INVALID_STATE']);
      }
      await driver.resumeStateOnHostBoot(one);
      await bench.assertState(one, 'running');
      const { domainId } = await driver.getInfo(one.uuid);
      await driver.resumeStateOnHostBoot(one);
      assert.equal((await driver.getInfo(one.uuid)).domainId, domainId, 'it was started anew');
      if (!driver.capabilities.pause) return;
      await driver.pause(one.uuid);
      await driver.resumeStateOnHostBoot(one);
      await bench.assertState(one, 'paused');
    },
    bench.callMs * 2,
  );

  it(
    'leaves nothing when it is destroyed suspended',
    async () => {
      const { driver } = bench;
      const one = launched();
      if (driver.capabilities.suspend) {
        if (driver.capabilities.pause) await driver.unpause(one.uuid);
        await driver.suspend(one.uuid);
      }
      await driver.destroy(one);
      await bench.assertNothingLeft(one);
      if (driver.capabilities.suspend) await expectError(driver.resume(one), ['INSTANCE_NOT_FOUND']);
    },
    bench.callMs,
  );
}
