// Many instances at once, readers of events that leave, and a close while the driver is busy.
import assert from 'node:assert/strict';
import type { ComputeDriver } from '../compute-driver.js';
import { ComputeError } from '../errors.js';
import type { Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

export function defineConcurrency(bench: ContractBench): void {
  const { it } = bench.contract;

  it(
    'launches and destroys several at the same time',
    async () => {
      const { driver } = bench;
      const instances: Instance[] = [];
      for (let i = 0; i < bench.concurrency; i++) instances.push(await bench.contract.makeInstance());
      const { mark } = bench.log;
      try {
        const results = await Promise.all(
          instances.map((instance) => driver.spawn(instance, { timeoutMs: bench.spawnMs })),
        );
        assert.equal(new Set(results.map(({ info }) => info.domainId)).size, instances.length);
        const listed = new Set((await driver.listInstances()).map(({ uuid }) => uuid));
        for (const { uuid } of instances) {
          assert.ok(listed.has(uuid), `${uuid} is not listed`);
          await bench.log.lifecycle(uuid, 'started', bench.callMs, mark);
        }
      } finally {
        await Promise.all(
          instances.map((instance) => driver.destroy(instance, { timeoutMs: bench.spawnMs })),
        );
      }
      for (const instance of instances) await bench.assertNothingLeft(instance);
    },
    bench.spawnMs * 2,
  );

  it(
    'ends a reader of events that returns or whose signal fires',
    async () => {
      const controller = new AbortController();
      const aborted = bench.driver.events({ signal: controller.signal });
      const waiting = aborted.next();
      controller.abort();
      assert.equal((await waiting).done, true);
      const returned = bench.driver.events();
      await returned.return?.();
      assert.equal((await returned.next()).done, true);
    },
    bench.callMs,
  );
}

/** Closes the bench's driver: the last of the suite. */
export function defineClose(bench: ContractBench): void {
  const { it, after } = bench.contract;
  const seen: { kept?: Instance; busy?: Instance; launched?: boolean; next?: ComputeDriver } = {};

  after(async () => {
    const { next } = seen;
    if (!next) return;
    for (const instance of [seen.kept, seen.busy]) if (instance) await next.destroy(instance);
    await next.close();
  }, bench.spawnMs);

  it(
    'closes while busy: the launch under way settles with a ComputeError or a result',
    async () => {
      seen.kept = await bench.contract.makeInstance();
      seen.busy = await bench.contract.makeInstance();
      await bench.driver.spawn(seen.kept, { timeoutMs: bench.spawnMs });
      let entered = (): void => undefined;
      const started = new Promise<void>((resolve) => {
        entered = resolve;
      });
      const spawn = bench.driver.spawn(seen.busy, {
        timeoutMs: bench.spawnMs,
        onStep: (step) => {
          if (step === 'definition') entered();
        },
      });
      const settled = spawn.then(
        () => true,
        (error: unknown) => {
          assert.ok(ComputeError.is(error), `rejected with no ComputeError: ${String(error)}`);
          assert.ok(['CLOSED', 'ABORTED'].includes(error.code), `code ${error.code}: ${error.message}`);
          return false;
        },
      );
      await Promise.race([started, settled]);
      await Promise.all([bench.driver.close(), bench.driver.close()]);
      seen.launched = await settled;
    },
    bench.spawnMs * 2,
  );

  it(
    'refuses everything after close, closes again without a word and ends the events',
    async () => {
      const { driver } = bench;
      const instance = await bench.contract.makeInstance();
      for (const call of [
        () => driver.getInfo(instance.uuid),
        () => driver.listInstances(),
        () => driver.getAvailableResource(),
        () => driver.spawn(instance),
        () => driver.destroy(instance),
        () => driver.powerOff(instance.uuid),
        ...(driver.capabilities.imageCache
          ? [() => driver.cacheImage(instance.image), () => driver.manageImageCache([])]
          : []),
      ]) {
        await expectError(call(), ['CLOSED']);
      }
      await bench.log.ended;
      assert.equal((await driver.events().next()).done, true);
      await driver.close();
      await driver[Symbol.asyncDispose]();
    },
    bench.callMs,
  );

  it(
    'left the instances running, and nothing half made, for the next driver of this host',
    async () => {
      const { kept, busy } = seen;
      assert.ok(kept && busy, 'the test before this one failed');
      seen.next = await bench.contract.makeDriver();
      await seen.next.initHost({ timeoutMs: bench.spawnMs });
      assert.equal((await seen.next.getInfo(kept.uuid)).powerState, 'running');
      assert.equal(await seen.next.instanceExists(busy.uuid), seen.launched);
      await seen.next.destroy(kept);
      await seen.next.destroy(busy);
      for (const instance of [kept, busy]) {
        assert.equal(await seen.next.instanceExists(instance.uuid), false);
        assert.deepEqual((await bench.contract.leftovers?.(instance)) ?? [], []);
      }
    },
    bench.spawnMs * 2,
  );
}
