// Another flavor at rest, confirmed and reverted, and more memory and vCPUs while it runs.
import assert from 'node:assert/strict';
import type { Flavor, Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

/** Room to grow while it runs. */
function withHeadroom(instance: Instance): Instance {
  const { vcpus, extraSpecs } = instance.flavor;
  const most = { 'node_compute:max_vcpus': String(vcpus + 1) };
  return { ...instance, flavor: { ...instance.flavor, extraSpecs: { ...extraSpecs, ...most } } };
}

/** Larger in all that it can be. */
function larger(flavor: Flavor): Flavor {
  return {
    ...flavor,
    name: 'larger',
    vcpus: flavor.vcpus + 1,
    // In which there is no more.
    extraSpecs: {},
    memoryMb: flavor.memoryMb + 32,
    rootGb: flavor.rootGb + 1,
    ephemeralGb: 1,
    swapMb: 16,
  };
}

export function defineResize(bench: ContractBench): void {
  const { it, before, after } = bench.contract;
  let instance: Instance | undefined;
  const launched = (): { readonly one: Instance; readonly resized: Instance } => {
    assert.ok(instance, 'the launch before these tests failed');
    return { one: instance, resized: { ...instance, flavor: larger(instance.flavor) } };
  };
  const shutdownTimeoutMs = bench.shutdownMs;

  async function assertFlavor({ uuid, flavor }: Instance): Promise<void> {
    const info = await bench.driver.getInfo(uuid);
    assert.deepEqual(
      [info.powerState, info.vcpus, info.memoryKib],
      ['running', flavor.vcpus, flavor.memoryMb * 1024],
    );
  }

  before(async () => {
    instance = withHeadroom(await bench.contract.makeInstance());
    await bench.driver.spawn(instance, { timeoutMs: bench.spawnMs });
    await bench.booted(instance);
  }, bench.spawnMs);

  after(async () => {
    if (instance) await bench.driver.destroy(instance, { timeoutMs: bench.spawnMs });
  }, bench.spawnMs);

  it(
    'runs on where there is nothing to finish, to confirm or to revert',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.resize) return;
      const { one } = launched();
      const { domainId } = await driver.getInfo(one.uuid);
      await expectError(driver.finishMigration(one), ['INVALID_STATE']);
      const signal = AbortSignal.abort(new Error('changed my mind'));
      await expectError(driver.migrateDiskAndPowerOff(one, larger(one.flavor), { signal }), ['ABORTED']);
      await driver.confirmMigration(one);
      await driver.finishRevertMigration(one);
      assert.equal((await driver.getInfo(one.uuid)).domainId, domainId, 'it was started anew');
      if (!driver.capabilities.pause) return;
      await driver.pause(one.uuid);
      await expectError(driver.migrateDiskAndPowerOff(one, larger(one.flavor)), ['INVALID_STATE']);
      await driver.unpause(one.uuid);
    },
    bench.callMs * 2,
  );

  it(
    'changes memory and vCPUs while it runs, within what it was started with',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.liveResize) return;
      const { one } = launched();
      const { domainId } = await driver.getInfo(one.uuid);
      const lifted = (change: Partial<Flavor>): Flavor => ({ ...one.flavor, ...change });
      for (const beyond of [{ vcpus: one.flavor.vcpus + 2 }, { memoryMb: one.flavor.memoryMb + 1 }]) {
        await expectError(driver.liveResize(one, { ...lifted(beyond), extraSpecs: {} }), ['INVALID_STATE']);
      }
      const more = lifted({ vcpus: one.flavor.vcpus + 1 });
      await driver.liveResize(one, more);
      await assertFlavor({ ...one, flavor: more });
      assert.equal((await driver.getInfo(one.uuid)).domainId, domainId, 'it was started anew');
      await driver.powerOff(one.uuid);
      await expectError(driver.liveResize(one, more), ['INVALID_STATE']);
      await driver.powerOn(one);
      await assertFlavor(one);
    },
    bench.spawnMs,
  );

  it(
    'is resized and reverted, running and stopped; both may be asked for again',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.resize) return;
      const { one, resized } = launched();
      await driver.migrateDiskAndPowerOff(one, resized.flavor, { shutdownTimeoutMs });
      await bench.assertState(one, 'shutdown');
      await expectError(driver.migrateDiskAndPowerOff(one, resized.flavor), ['INVALID_STATE']);
      await driver.finishMigration(resized);
      await assertFlavor(resized);
      await driver.finishRevertMigration(one);
      await assertFlavor(one);
      const { domainId } = await driver.getInfo(one.uuid);
      await driver.finishRevertMigration(one);
      assert.equal((await driver.getInfo(one.uuid)).domainId, domainId, 'it was started anew');
      await driver.powerOff(one.uuid);
      await driver.migrateDiskAndPowerOff(one, resized.flavor);
      // Whoever died here: the next process takes it back from the middle.
      await driver.finishRevertMigration(one, { powerOn: false });
      await bench.assertState(one, 'shutdown');
      await driver.powerOn(one);
      await assertFlavor(one);
    },
    bench.spawnMs,
  );

  it(
    'is resized and confirmed, works as before, and leaves nothing',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.resize) return;
      const { one, resized } = launched();
      await driver.migrateDiskAndPowerOff(one, resized.flavor);
      await driver.finishMigration(resized, { powerOn: false });
      await bench.assertState(one, 'shutdown');
      await driver.confirmMigration(resized);
      await driver.confirmMigration(resized);
      await driver.powerOn(resized);
      await assertFlavor(resized);
      for (const smaller of [{ rootGb: 0 }, { ephemeralGb: 0 }]) {
        const flavor = { ...resized.flavor, ...smaller };
        await expectError(driver.migrateDiskAndPowerOff(resized, flavor), ['FLAVOR_DISK_TOO_SMALL']);
      }
      await assertFlavor(resized);
      await driver.destroy(resized);
      await bench.assertNothingLeft(resized);
    },
    bench.spawnMs,
  );

  it(
    'is destroyed in the middle of a resize and leaves nothing',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.resize) return;
      const { one, resized } = launched();
      await driver.spawn(one, { timeoutMs: bench.spawnMs });
      await driver.migrateDiskAndPowerOff(one, resized.flavor);
      await driver.finishMigration(resized);
      await driver.destroy(resized);
      await bench.assertNothingLeft(one);
      await expectError(driver.finishRevertMigration(one), ['INSTANCE_NOT_FOUND']);
    },
    bench.spawnMs,
  );
}
