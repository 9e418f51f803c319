// Ageing of cached bases: what nothing uses goes in its time, whatever the clocks do; what is used or pinned stays.
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CacheClock, Moment } from '../../src/image/cache/clock.js';
import { elapsedMs } from '../../src/image/cache/clock.js';
import { imageKey } from '../../src/image/cache-paths.js';
import { ImageCache } from '../../src/image/image-cache.js';
import type { ImageCacheOptions } from '../../src/image/types.js';
import { fileImage, instanceDirectory, MIB, noise, scratch, until, writeRaw } from './fixtures.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** A host whose clocks the test sets. */
class TestClock implements CacheClock {
  boot = 'first';
  monotonicMs = 1000;
  wallMs = Date.UTC(2026, 0, 1);

  async now(): Promise<Moment> {
    const { boot, monotonicMs, wallMs } = this;
    return { boot, monotonicMs, wallMs };
  }

  pass(ms: number): void {
    this.monotonicMs += ms;
    this.wallMs += ms;
  }

  reboot(): void {
    this.boot += ' again';
    this.monotonicMs = 5;
  }
}

interface Bench {
  readonly clock: TestClock;
  readonly cache: ImageCache;
  readonly instances: string;
  /** The cache of another process on the same directory. */
  restart(options?: Partial<ImageCacheOptions>): ImageCache;
  /** Puts an image of that many MiB into the cache. */
  fetch(id: string, mib?: number): Promise<string>;
  launch(id: string, uuid: string): Promise<void>;
  terminate(uuid: string): void;
  there(): string[];
}

function bench(options: Partial<ImageCacheOptions> = {}): Bench {
  const instances = join(scratch(), 'instances');
  const sources = scratch();
  const clock = new TestClock();
  const open = (more: Partial<ImageCacheOptions> = {}): ImageCache =>
    new ImageCache({ reservedBytes: MIB, ...options, ...more, instancesPath: instances }, clock);
  const cache = open();
  const image = (id: string, mib = 1) => {
    const path = join(sources, id);
    if (!existsSync(path)) writeRaw(sources, noise(mib * MIB, mib), id);
    return fileImage(path, 'raw', { id });
  };
  const ids = new Set<string>();
  return {
    clock,
    cache,
    instances,
    restart: open,
    fetch: async (id, mib) => {
      ids.add(id);
      const { path } = await cache.prefetch(image(id, mib));
      await until(() => existsSync(join(instances, '_base/.used', imageKey(id))));
      return path;
    },
    launch: async (id, uuid) => {
      const base = await cache.ensureBase(image(id), { flavorRootBytes: 0 });
      await cache.createInstanceDisk(instanceDirectory(instances, uuid), base, 0);
    },
    terminate: (uuid) => rmSync(join(instances, uuid), { recursive: true }),
    there: () => [...ids].filter((id) => existsSync(join(instances, '_base', imageKey(id)))),
  };
}

describe('a pass', () => {
  it('removes what nothing used for a day, with its record and stamps', async () => {
    const { clock, cache, instances, fetch, there } = bench();
    await fetch('a');
    clock.pass(DAY - 1);
    expect((await cache.prune()).evicted).toEqual([]);
    clock.pass(1);
    expect(await cache.prune()).toMatchObject({
      bases: 0,
      bytes: 0,
      evicted: [{ base: imageKey('a'), imageId: 'a', reason: 'age', bytes: MIB }],
    });
    expect(there()).toEqual([]);
    for (const name of [`${imageKey('a')}.json`, `.used/${imageKey('a')}`, `.scrubbed/${imageKey('a')}`]) {
      expect(existsSync(join(instances, '_base', name))).toBe(false);
    }
    expect(cache.metrics()).toMatchObject({ passes: 2, evictions: 1, evictedBytes: MIB });
  });

  it('leaves what an instance holds, whose age begins when that has gone', async () => {
    const { clock, cache, launch, terminate, fetch, there } = bench();
    await fetch('a');
    await launch('a', 'one');
    await launch('a', 'two');
    clock.pass(10 * DAY);
    expect(await cache.prune({ minAgeMs: 0, maxBytes: 1 })).toMatchObject({ inUse: 1, evicted: [] });
    terminate('one');
    clock.pass(DAY);
    await cache.prune({ minAgeMs: 0 });
    terminate('two');
    clock.pass(DAY - 1);
    await cache.prune();
    expect(there()).toEqual(['a']);
    clock.pass(1);
    await cache.prune();
    expect(there()).toEqual([]);
  });

  it('counts a hit as a use', async () => {
    const { clock, cache, fetch, there } = bench();
    const path = await fetch('a');
    clock.pass(DAY - 1);
    const stamp = join(path, '..', '.used', imageKey('a'));
    const before = readFileSync(stamp, 'utf8');
    await fetch('b');
    await fetch('a');
    await until(() => readFileSync(stamp, 'utf8') !== before);
    clock.pass(DAY - 1);
    await cache.prune();
    expect(there()).toEqual(['a', 'b']);
  });

  it('takes a base without a stamp as used now, and what is no base for none', async () => {
    const { clock, cache, instances, fetch, there } = bench();
    await fetch('a');
    rmSync(join(instances, '_base/.used'), { recursive: true });
    writeFileSync(join(instances, '_base/notes.txt'), 'of the operator');
    await cache.close();
    const { restart } = { restart: () => new ImageCache({ instancesPath: instances }, clock) };
    const next = restart();
    clock.pass(10 * DAY);
    expect((await next.prune()).evicted).toEqual([]);
    clock.pass(DAY);
    expect((await next.prune()).evicted).toHaveLength(1);
    expect(there()).toEqual([]);
    expect(existsSync(join(instances, '_base/notes.txt'))).toBe(true);
  });

  it('does nothing where it is dry, and tells what it would do', async () => {
    const { clock, cache, fetch, there } = bench();
    await fetch('a');
    await fetch('b');
    clock.pass(DAY);
    const dry = await cache.prune({ dryRun: true });
    expect(dry.evicted.map(({ imageId }) => imageId).sort()).toEqual(['a', 'b']);
    expect(there()).toEqual(['a', 'b']);
    expect(cache.metrics()).toMatchObject({ passes: 0, evictions: 0 });
    expect((await cache.prune()).evicted).toEqual(dry.evicted);
  });

  it('leaves what its caller says is in use', async () => {
    const { clock, cache, fetch, there } = bench();
    await fetch('a');
    clock.pass(2 * DAY);
    await cache.prune({ inUse: ['a', 'elsewhere'] });
    clock.pass(DAY - 1);
    await cache.prune();
    expect(there()).toEqual(['a']);
  });

  it('leaves what is locked, and does not wait for it', async () => {
    const { clock, cache, instances, fetch, there } = bench();
    await fetch('a');
    clock.pass(DAY);
    const { callNative } = await import('../../src/native.js');
    const lock = await callNative(
      (addon, id) =>
        addon.lockFile(join(instances, 'locks', imageKey('a')), { shared: true, wait: false }, id),
      { operation: 'test' },
    );
    expect((await cache.prune()).evicted).toEqual([]);
    await lock?.release(0);
    expect((await cache.prune()).evicted).toHaveLength(1);
    expect(there()).toEqual([]);
  });

  it('that is aborted changes nothing more', async () => {
    const { clock, cache, fetch, there } = bench();
    await fetch('a');
    clock.pass(DAY);
    await expect(cache.prune({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    expect(there()).toEqual(['a']);
  });
});

describe('the age of a base', () => {
  it('is not changed by a wall clock that jumps ahead', async () => {
    const { clock, cache, fetch, there } = bench();
    await fetch('a');
    clock.wallMs += 400 * DAY;
    expect((await cache.prune()).evicted).toEqual([]);
    clock.pass(DAY);
    expect((await cache.prune()).evicted).toHaveLength(1);
    expect(there()).toEqual([]);
  });

  it('is not changed by a wall clock that jumps back', async () => {
    const { clock, cache, fetch } = bench();
    await fetch('a');
    clock.pass(DAY - HOUR);
    clock.wallMs -= 400 * DAY;
    expect((await cache.prune()).evicted).toEqual([]);
    clock.pass(HOUR);
    expect((await cache.prune()).evicted).toHaveLength(1);
  });

  it('goes on over restarts of the process', async () => {
    const { clock, fetch, restart } = bench();
    await fetch('a');
    for (let hour = 0; hour < 23; hour++) {
      clock.pass(HOUR);
      expect((await restart().prune()).evicted).toEqual([]);
    }
    clock.pass(HOUR);
    expect((await restart().prune()).evicted).toHaveLength(1);
  });

  it('goes on over reboots, by no more than an hour each, whatever the wall clock says', async () => {
    const { clock, fetch, restart } = bench();
    await fetch('a');
    clock.pass(20 * HOUR);
    await restart().prune();
    for (const jump of [400 * DAY, -800 * DAY, 400 * DAY]) {
      clock.reboot();
      clock.wallMs += jump;
      expect((await restart().prune()).evicted).toEqual([]);
    }
    // The 20 hours were not kept by a pass of their own boot: the reboot counts one hour for them.
    clock.pass(21 * HOUR);
    expect((await restart().prune()).evicted).toEqual([]);
    clock.pass(HOUR);
    expect((await restart().prune()).evicted).toHaveLength(1);
  });

  it('never falls below zero, and within a boot is the monotonic clock alone', () => {
    const at = (boot: string, monotonicMs: number, wallMs: number): Moment => ({ boot, monotonicMs, wallMs });
    expect(elapsedMs(at('x', 10, 0), at('x', 30, -99))).toBe(20);
    expect(elapsedMs(at('x', 30, 0), at('x', 10, 99))).toBe(0);
    expect(elapsedMs(at('x', 0, 500), at('y', 0, 100))).toBe(0);
    expect(elapsedMs(at('x', 0, 0), at('y', 0, 60_000))).toBe(60_000);
    expect(elapsedMs(at('x', 0, 0), at('y', 0, DAY))).toBe(HOUR);
  });
});

describe('a cap on bytes', () => {
  it('takes the least recently used first, until the rest fits', async () => {
    const { clock, cache, fetch, there } = bench({ maxBytes: 5 * MIB });
    for (const id of ['a', 'b', 'c']) {
      await fetch(id, 2);
      clock.pass(HOUR);
    }
    expect(await cache.prune()).toMatchObject({
      bytes: 4 * MIB,
      evicted: [{ imageId: 'a', reason: 'bytes' }],
    });
    expect(there()).toEqual(['b', 'c']);
    expect((await cache.prune()).evicted).toEqual([]);
    expect((await cache.prune({ maxBytes: 2 * MIB })).evicted).toMatchObject([{ imageId: 'b' }]);
  });

  it('never takes what is in use or pinned, also where that is too much', async () => {
    const { clock, cache, fetch, launch, there } = bench({ maxBytes: MIB });
    await fetch('used', 2);
    await launch('used', 'instance');
    await fetch('pinned', 2);
    await cache.pin('pinned');
    clock.pass(HOUR);
    await fetch('free', 2);
    expect((await cache.prune()).evicted).toMatchObject([{ imageId: 'free' }]);
    expect(there()).toEqual(['used', 'pinned']);
  });
});

describe('a pin', () => {
  it('keeps an image for all processes until it is taken away, whether it was there or not', async () => {
    const { clock, cache, fetch, there, restart } = bench();
    await cache.pin('a');
    await cache.pin('a');
    await fetch('a');
    clock.pass(10 * DAY);
    const other = restart();
    expect((await other.prune({ minAgeMs: 0 })).evicted).toEqual([]);
    expect(await other.pinned()).toEqual(['a']);
    await expect(other.remove('a')).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await other.unpin('a');
    await other.unpin('a');
    await cache.prune();
    expect(there()).toEqual([]);
  });

  it('is refused for what cannot be an id', async () => {
    await expect(bench().cache.pin('')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('a removal by hand', () => {
  it('is refused while instances stand on the base, and names them', async () => {
    const { cache, fetch, launch, terminate, there } = bench();
    await fetch('a');
    await launch('a', 'one');
    await launch('a', 'two');
    await expect(cache.remove('a')).rejects.toMatchObject({
      code: 'IMAGE_IN_USE',
      retryable: false,
      details: { instances: ['one', 'two'] },
    });
    terminate('one');
    terminate('two');
    await cache.remove(imageKey('a'));
    expect(there()).toEqual([]);
    await expect(cache.remove('a')).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
  });
});

describe('the list', () => {
  it('tells size, users, age, pin, verdict and source of each image', async () => {
    const { clock, cache, instances, fetch, launch } = bench();
    await fetch('a');
    await launch('a', 'one');
    await fetch('b', 2);
    await cache.pin('b');
    rmSync(join(instances, '_base', `${imageKey('b')}.json`));
    clock.pass(HOUR);
    const [a, b] = await cache.list();
    expect(a).toMatchObject({
      imageId: 'a',
      sizeBytes: MIB,
      allocatedBytes: MIB,
      users: 1,
      instances: ['one'],
      ageMs: 0,
      pinned: false,
      verdict: 'sound',
      source: expect.stringMatching(/\/a$/),
    });
    expect(b).toMatchObject({
      base: imageKey('b'),
      imageId: undefined,
      users: 0,
      ageMs: HOUR,
      pinned: true,
      verdict: 'unknown',
    });
    expect(statSync(join(instances, '_base', imageKey('a'))).nlink).toBe(2);
  });
});

describe('options', () => {
  it.each([{ minAgeMs: -1 }, { maxBytes: 0 }, { scrubIntervalMs: 0.5 }, { scrubBytesPerSecond: 0 }])(
    'that make no sense are refused: %o',
    (options) => {
      expect(() => bench(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    },
  );
});
