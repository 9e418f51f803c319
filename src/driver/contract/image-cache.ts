// The image cache of a driver that has one: fetched once, found by launches, aged without harm to what is in use.
import assert from 'node:assert/strict';
import { type ContractBench, expectError } from './harness.js';

export function defineImageCache(bench: ContractBench): void {
  const { it } = bench.contract;

  it(
    'fetches an image once, for whoever wants it first or later',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.imageCache) return;
      const instance = await bench.contract.makeInstance();
      const before = await driver.getImageCacheMetrics();
      const outcomes = await Promise.all(
        [0, 1, 2].map(() => driver.cacheImage(instance.image, { timeoutMs: bench.spawnMs })),
      );
      assert.ok(outcomes.filter((outcome) => outcome === 'fetched').length <= 1, outcomes.join(' '));
      assert.equal(await driver.cacheImage(instance.image), 'hit');
      const after = await driver.getImageCacheMetrics();
      const uses = ({ hits, misses, joins }: typeof after): number => hits + misses + joins;
      assert.equal(uses(after) - uses(before), 4);
      try {
        const { imageCache } = await driver.spawn(instance, { timeoutMs: bench.spawnMs });
        assert.equal(imageCache, 'hit');
      } finally {
        await driver.destroy(instance, { timeoutMs: bench.spawnMs });
      }
    },
    bench.spawnMs * 2,
  );

  it(
    'ages nothing that is in use, by an instance or in the words of its caller',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.imageCache) return;
      const instance = await bench.contract.makeInstance();
      await bench.withInstance(instance, async () => {
        await driver.manageImageCache([]);
        assert.equal(await driver.cacheImage(instance.image), 'hit');
        await driver.reboot(instance, 'hard');
        await bench.assertState(instance, 'running');
      });
      await driver.cacheImage(instance.image, { timeoutMs: bench.spawnMs });
      await driver.manageImageCache([instance.image.id]);
      assert.equal(await driver.cacheImage(instance.image), 'hit');
    },
    bench.spawnMs * 2,
  );

  it(
    'does nothing to it under a signal that has fired already',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.imageCache) return;
      const { image } = await bench.contract.makeInstance();
      const signal = AbortSignal.abort();
      await expectError(driver.cacheImage(image, { signal }), ['ABORTED']);
      await expectError(driver.manageImageCache([], { signal }), ['ABORTED']);
    },
    bench.callMs,
  );
}
