// What a node does with its driver's image cache: prefetch, passes by itself and on demand, events and counters.
import { describe, expect, it, vi } from 'vitest';
import { ComputeError, type Logger } from '../../../src/index.js';
import { Periodic } from '../../../src/node/periodic.js';
import { collect, makeBench, request } from '../../fault/node-harness.js';

const IMAGE = {
  id: 'image',
  diskFormat: 'raw',
  source: { type: 'file', path: '/images/image' },
} as const;

describe('a node', () => {
  it('fetches an image ahead of a launch, which finds it', async () => {
    const node = await makeBench().open();
    const seen: string[] = [];
    expect(await node.cacheImage(IMAGE, { onProgress: ({ activity }) => seen.push(activity) })).toBe(
      'fetched',
    );
    expect(seen).toEqual(['downloading']);
    expect(await node.cacheImage(IMAGE)).toBe('hit');
    expect((await node.launch(request({ image: IMAGE }))).imageCache).toBe('hit');
    expect(await node.imageCacheMetrics()).toMatchObject({ hits: 2, misses: 1, joins: 0 });
    await expect(node.cacheImage({ ...IMAGE, id: '' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('ages the cache on demand, without the images of its instances, and tells what went', async () => {
    const node = await makeBench().open();
    const events = collect(node);
    await node.launch(request({ image: { ...IMAGE, id: 'used' } }));
    await node.cacheImage({ ...IMAGE, id: 'unused' });
    await node.manageImageCache();
    await vi.waitFor(() =>
      expect(events).toContainEqual(
        expect.objectContaining({
          type: 'image-cache',
          event: expect.objectContaining({ kind: 'evicted', imageId: 'unused' }),
        }),
      ),
    );
    expect(await node.cacheImage({ ...IMAGE, id: 'used' })).toBe('hit');
    expect(await node.cacheImage({ ...IMAGE, id: 'unused' })).toBe('fetched');
  });

  it('ages the cache by itself, until it is closed', async () => {
    const node = await makeBench().open({ imageCacheIntervalMs: 5 });
    const passes = async (): Promise<number> => (await node.imageCacheMetrics()).passes;
    await vi.waitFor(async () => expect(await passes()).toBeGreaterThan(2));
    await node.close();
    await expect(node.manageImageCache()).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(node.cacheImage(IMAGE)).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('leaves the cache alone where that is off', async () => {
    const node = await makeBench().open({ imageCacheIntervalMs: 0 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect((await node.imageCacheMetrics()).passes).toBe(0);
  });

  it('refuses an interval that no timer has', async () => {
    for (const imageCacheIntervalMs of [-1, 0.5, 2 ** 31]) {
      await expect(makeBench().open({ imageCacheIntervalMs })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    }
  });
});

describe('work that is repeated', () => {
  const quiet: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

  it('never runs beside itself, goes on after a failure that it logs, and ends when it is stopped', async () => {
    const warnings: string[] = [];
    let running = 0;
    let runs = 0;
    let most = 0;
    const periodic = new Periodic({
      name: 'work',
      intervalMs: 1,
      log: { ...quiet, warn: (message) => warnings.push(message) },
      work: async () => {
        running += 1;
        runs += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running -= 1;
        if (runs === 2) throw new ComputeError('NO_SPACE', 'no room');
      },
    });
    await vi.waitFor(() => expect(runs).toBeGreaterThan(3));
    await periodic.stop();
    const ended = runs;
    expect([most, running]).toEqual([1, 0]);
    expect(warnings).toEqual(['work failed: NO_SPACE: no room']);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(runs).toBe(ended);
    await periodic.stop();
  });

  it('is aborted by the stop that waits for it', async () => {
    let begun = false;
    const periodic = new Periodic({
      name: 'work',
      intervalMs: 1,
      log: quiet,
      work: (signal) =>
        new Promise((_resolve, reject) => {
          begun = true;
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        }),
    });
    await vi.waitFor(() => expect(begun).toBe(true));
    await periodic.stop();
  });
});
