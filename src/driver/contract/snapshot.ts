// Snapshots: of a running and a stopped instance, which stay as they are; what is refused, and what an abort leaves.
import assert from 'node:assert/strict';
import type { Instance } from '../model.js';
import type { SnapshotStep } from '../snapshot.js';
import { type ContractBench, expectError } from './harness.js';

export function defineSnapshot(bench: ContractBench): void {
  const { before, after, it } = bench.contract;
  let instance: Instance | undefined;
  const launched = (): Instance => {
    assert.ok(instance, 'the launch before these tests failed');
    return instance;
  };
  const target = async () => {
    const { makeSnapshotTarget } = bench.contract;
    return bench.driver.capabilities.snapshot && makeSnapshotTarget ? await makeSnapshotTarget() : undefined;
  };

  before(async () => {
    instance = await bench.contract.makeInstance();
    await bench.driver.spawn(instance, { timeoutMs: bench.spawnMs });
  }, bench.spawnMs);

  after(async () => {
    if (!instance) return;
    await bench.driver.destroy(instance, { timeoutMs: bench.spawnMs });
    await bench.assertNothingLeft(instance);
  }, bench.spawnMs);

  for (const how of ['live', 'cold'] as const) {
    it(
      `makes an image of its disk, ${how}, and nothing of the instance changes`,
      async () => {
        const { driver } = bench;
        const one = launched();
        const wanted = await target();
        if (!wanted) return;
        if (how === 'cold') await driver.powerOff(one.uuid);
        const state = how === 'live' ? 'running' : 'shutdown';
        const before = await driver.getInfo(one.uuid);
        const steps: SnapshotStep[] = [];
        const result = await driver.snapshot(one, wanted, {
          onProgress: ({ step }) => {
            if (steps.at(-1) !== step) steps.push(step);
          },
        });
        assert.equal(result.how, how);
        assert.deepEqual(steps.slice(-2), ['convert', 'upload']);
        assert.equal(steps.includes('copy'), how === 'live');
        assert.equal(result.format, 'qcow2');
        assert.ok(result.sizeBytes > 0 && result.virtualSizeBytes > 0);
        assert.equal(
          wanted.type === 'file' ? result.path : result.imageId !== undefined,
          wanted.type === 'file' ? wanted.path : true,
        );
        await bench.assertState(one, state);
        assert.equal((await driver.getInfo(one.uuid)).domainId, before.domainId, 'it is not the same QEMU');
        if (wanted.type === 'file') await expectError(driver.snapshot(one, wanted), ['INVALID_ARGUMENT']);
        if (how === 'cold') await driver.powerOn(one);
      },
      bench.spawnMs,
    );
  }

  it(
    'takes one of a paused instance, which stays paused',
    async () => {
      const { driver } = bench;
      const wanted = await target();
      if (!wanted || !driver.capabilities.pause) return;
      await driver.pause(launched().uuid);
      assert.equal((await driver.snapshot(launched(), wanted, { format: 'raw' })).format, 'raw');
      await bench.assertState(launched(), 'paused');
      await driver.unpause(launched().uuid);
    },
    bench.spawnMs,
  );

  it(
    'refuses what is no target and no format, and a second one at the same time',
    async () => {
      const { driver } = bench;
      const one = launched();
      const wanted = await target();
      if (!wanted) return;
      const other = await bench.contract.makeSnapshotTarget?.();
      for (const path of ['', 'relative', '/', '/tmp/..', '/a\0b']) {
        await expectError(driver.snapshot(one, { type: 'file', path }), ['INVALID_ARGUMENT']);
      }
      await expectError(driver.snapshot(one, { type: 'glance', imageId: '../1' }), ['INVALID_ARGUMENT']);
      const squeezed = { format: 'raw', compression: 'zlib' } as const;
      await expectError(driver.snapshot(one, wanted, squeezed), ['INVALID_ARGUMENT']);
      const first = driver.snapshot(one, wanted);
      await expectError(driver.snapshot(one, other ?? wanted), ['INSTANCE_BUSY']);
      await first;
    },
    bench.spawnMs,
  );

  for (const step of ['copy', 'quiesce', 'convert', 'upload'] as const) {
    it(
      `leaves nothing where it is aborted in the step ${step}, and can be taken then`,
      async () => {
        const { driver } = bench;
        const one = launched();
        const wanted = await target();
        if (!wanted) return;
        const controller = new AbortController();
        const onProgress = (progress: { readonly step: SnapshotStep }): void => {
          if (progress.step === step) controller.abort();
        };
        const { signal } = controller;
        await expectError(driver.snapshot(one, wanted, { signal, onProgress }), ['ABORTED']);
        await bench.assertState(one, 'running');
        await driver.undoSnapshot(one, wanted);
        const result = await driver.snapshot(one, wanted);
        assert.equal(result.how, 'live');
        // It is whole: nothing is left to be undone.
        await driver.undoSnapshot(one, wanted);
        if (wanted.type === 'file') await expectError(driver.snapshot(one, wanted), ['INVALID_ARGUMENT']);
      },
      bench.spawnMs,
    );
  }
}
