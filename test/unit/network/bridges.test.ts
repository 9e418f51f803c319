// Bridges by their users: made once, kept while used, removed only if ours; one call at a time for each.
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import { Bridges } from '../../../src/network/bridges.js';
import { BRIDGE_ALIAS } from '../../../src/network/links.js';
import { FakeLinks } from './fake-links.js';

function setUp(): { links: FakeLinks; bridges: Bridges } {
  const links = new FakeLinks();
  return { links, bridges: new Bridges(links) };
}

describe('users', () => {
  it('share a bridge that is made for the first and goes with the last', async () => {
    const { links, bridges } = setUp();
    const made = await Promise.all(
      ['a', 'b', 'c'].map((user) => bridges.acquire('br0', { user, mtu: 1400 })),
    );
    expect(made).toEqual([true, false, false]);
    expect(links.links.get('br0')?.mtu).toBe(1400);
    expect(await bridges.release('br0', 'b')).toBe(false);
    expect(await bridges.release('br0', 'a')).toBe(false);
    expect(bridges.users('br0')).toEqual(['c']);
    expect(await bridges.release('br0', 'c')).toBe(true);
    expect(links.links.has('br0')).toBe(false);
    expect(bridges.users('br0')).toEqual([]);
  });

  it('count once, however often they come and go', async () => {
    const { links, bridges } = setUp();
    await bridges.acquire('br0', { user: 'a' });
    await bridges.acquire('br0', { user: 'a' });
    await bridges.acquire('br0', { user: 'b' });
    await bridges.release('br0', 'a');
    expect(await bridges.release('br0', 'a')).toBe(false);
    expect(links.links.has('br0')).toBe(true);
    expect(bridges.users('br0')).toEqual(['b']);
  });
});

describe('a bridge', () => {
  it('of somebody else is used and never removed', async () => {
    const { links, bridges } = setUp();
    links.add('br-ex', { alias: 'uplink' });
    expect(await bridges.acquire('br-ex', { user: 'a' })).toBe(false);
    expect(await bridges.release('br-ex', 'a')).toBe(false);
    expect(links.calls).not.toContain('remove br-ex');
  });

  it('of ours from before a restart goes when a user that never acquired it here leaves', async () => {
    const { links, bridges } = setUp();
    links.add('br0', { alias: BRIDGE_ALIAS });
    expect(await bridges.release('br0', 'old')).toBe(true);
  });

  it('of ours stays while it has ports, which may be those of instances from before a restart', async () => {
    const { links, bridges } = setUp();
    links.add('br0', { alias: BRIDGE_ALIAS });
    links.ports.set('br0', ['tap0']);
    await bridges.acquire('br0', { user: 'a' });
    expect(await bridges.release('br0', 'a')).toBe(false);
    expect(links.links.has('br0')).toBe(true);
  });

  it('is not removed where its name is now another kind of link, whatever its alias', async () => {
    const { links, bridges } = setUp();
    links.add('br0', { kind: 'tun', alias: BRIDGE_ALIAS });
    expect(await bridges.release('br0', 'a')).toBe(false);
    expect(links.calls).toEqual(['get br0']);
  });

  it('that could not be made has no user, and what was made of it goes', async () => {
    const { links, bridges } = setUp();
    links.failure = new ComputeError('NETWORK_FAILED', 'no');
    await expect(bridges.acquire('br0', { user: 'a' })).rejects.toBe(links.failure);
    expect(bridges.users('br0')).toEqual([]);
    links.failure = undefined;
    expect(await bridges.acquire('br0', { user: 'a' })).toBe(true);
  });

  it('keeps a user that had it when asking for it again fails', async () => {
    const { links, bridges } = setUp();
    await bridges.acquire('br0', { user: 'a' });
    links.failure = new ComputeError('NETWORK_FAILED', 'no');
    await expect(bridges.acquire('br0', { user: 'a' })).rejects.toThrow('no');
    expect(bridges.users('br0')).toEqual(['a']);
    links.failure = undefined;
    expect(links.links.has('br0')).toBe(true);
  });
});

describe('an abort', () => {
  it('before the call touches nothing', async () => {
    const { links, bridges } = setUp();
    const call = bridges.acquire('br0', { user: 'a', signal: AbortSignal.abort('enough') });
    await expect(call).rejects.toMatchObject({ code: 'ABORTED', cause: 'enough' });
    expect(links.calls).toEqual([]);
  });

  it('in the middle rejects at once, and the bridge goes when the kernel has answered', async () => {
    const { links, bridges } = setUp();
    const controller = new AbortController();
    let answer = (): void => {};
    links.delay = () => new Promise((resolve) => (answer = resolve));
    const call = bridges.acquire('br0', { user: 'a', signal: controller.signal });
    await turn();
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' });
    links.delay = () => turn();
    answer();
    // Runs behind the aborted one.
    expect(await bridges.release('br0', 'a')).toBe(false);
    expect(links.links.has('br0')).toBe(false);
    expect(links.calls).toEqual(['ensure br0', 'get br0', 'remove br0', 'get br0']);
  });

  it('in the middle leaves the bridge to the other users', async () => {
    const { links, bridges } = setUp();
    const controller = new AbortController();
    const aborted = bridges.acquire('br0', { user: 'a', signal: controller.signal });
    const other = bridges.acquire('br0', { user: 'b' });
    await turn();
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    await other;
    expect(links.links.has('br0')).toBe(true);
    expect(bridges.users('br0')).toEqual(['b']);
  });
});

it('refuses what cannot name a bridge, and impossible MTUs, before it touches anything', async () => {
  const { links, bridges } = setUp();
  const refused = { code: 'INVALID_ARGUMENT' };
  await expect(bridges.acquire('../x', { user: 'a' })).rejects.toMatchObject(refused);
  await expect(bridges.acquire('br0', { user: 'a', mtu: 5 })).rejects.toMatchObject(refused);
  await expect(bridges.release('', 'a')).rejects.toMatchObject(refused);
  expect(links.calls).toEqual([]);
});

it('serves several bridges side by side', async () => {
  const { links, bridges } = setUp();
  await Promise.all(['br0', 'br1', 'br2'].map((bridge) => bridges.acquire(bridge, { user: 'a' })));
  expect(links.mostAtOnce).toBe(3);
});

it('never loses a bridge under a user, and leaves none of ours behind, in any order of calls', async () => {
  const step = fc.record({
    bridge: fc.constantFrom('br0', 'br1', 'br-ex'),
    user: fc.constantFrom('a', 'b', 'c'),
    acquire: fc.boolean(),
    abort: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.array(fc.nat(3), { minLength: 1 }),
      async (steps, delays) => {
        const { links, bridges } = setUp();
        links.add('br-ex');
        let calls = 0;
        links.delay = async () => {
          for (let n = delays[calls++ % delays.length] ?? 0; n >= 0; n -= 1) await Promise.resolve();
        };
        await Promise.all(
          steps.map(async ({ bridge, user, acquire, abort }) => {
            if (!acquire) return await bridges.release(bridge, user);
            const controller = new AbortController();
            if (abort) queueMicrotask(() => controller.abort());
            return await bridges
              .acquire(bridge, { user, signal: controller.signal })
              .catch((error: unknown) => expect(error).toMatchObject({ code: 'ABORTED' }));
          }),
        );
        // Behind whatever an aborted call still has to tidy up.
        await Promise.all(['br0', 'br1', 'br-ex'].map((bridge) => bridges.release(bridge, 'nobody')));
        expect(links.overlaps).toBe(0);
        expect(links.links.has('br-ex')).toBe(true);
        for (const bridge of ['br0', 'br1']) {
          expect(links.links.has(bridge)).toBe(bridges.users(bridge).length > 0);
        }
        for (const bridge of ['br0', 'br1', 'br-ex']) {
          await Promise.all(['a', 'b', 'c'].map((user) => bridges.release(bridge, user)));
        }
        expect([...links.links.keys()]).toEqual(['br-ex']);
      },
    ),
    { numRuns: 300 },
  );
});
