// Eviction beside launches: no disk without its base, nothing evicted that is in use, by however many caches on the path.
import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { imageKey } from '../../src/image/cache-paths.js';
import {
  fileImage,
  holdOf,
  instanceDirectory,
  MIB,
  noise,
  openCache,
  scratch,
  writeRaw,
} from '../image/fixtures.js';

/** 1000 at a release; each cycle is a launch and a termination. */
const CYCLES = Number(process.env['NODE_COMPUTE_EVICTION_CYCLES'] ?? 300);
const AT_ONCE = 8;

it('every 10 ms, by two caches, beside launches and terminations', async () => {
  const { cache, instances } = openCache();
  const evictor = openCache({ instancesPath: instances }).cache;
  await cache.recover();
  const sources = scratch();
  const images = ['a', 'b', 'c'].map((id) =>
    fileImage(writeRaw(sources, noise(MIB / 16), id), 'raw', { id }),
  );
  let running = true;
  const evicting = (async () => {
    while (running) {
      await Promise.all([cache, evictor].map((one) => one.prune({ minAgeMs: 0 })));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();

  let started = 0;
  const cycle = async (): Promise<void> => {
    while (started < CYCLES) {
      const n = started++;
      const image = images[n % images.length] ?? images[0];
      if (!image) return;
      const base = await cache.ensureBase(image, { flavorRootBytes: 0 });
      const directory = instanceDirectory(instances, `instance-${n}`);
      const disk = await cache.createInstanceDisk(directory, base, 0);
      // Longer than a pass or two: whoever evicts must see that it is used.
      if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 25));
      const path = join(instances, '_base', imageKey(image.id));
      expect(statSync(holdOf(disk)).ino).toBe(statSync(path).ino);
      rmSync(directory, { recursive: true });
      // Some come to an image that nobody uses.
      if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 15));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, cycle));
  running = false;
  await evicting;

  const evictions = cache.metrics().evictions + evictor.metrics().evictions;
  expect(evictions).toBeGreaterThan(0);
  expect(cache.metrics().misses).toBeGreaterThan(images.length);
  await evictor.prune({ minAgeMs: 0 });
  expect(images.filter(({ id }) => existsSync(join(instances, '_base', imageKey(id))))).toEqual([]);
});
