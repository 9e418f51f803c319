// Turns are given in order of arrival, never to more than there is room for, and nobody waits for one who has left.
import { describe, expect, it } from 'vitest';
import { Deadline } from '../../../src/driver/deadline.js';
import { InstanceLocks } from '../../../src/node/instance-lock.js';
import { Turnstile } from '../../../src/node/turns.js';

const forever = () => new Deadline({ operation: 'test' });
const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('Turnstile', () => {
  it('lets in as many as it is wide, the others in order', async () => {
    const gate = new Turnstile(2);
    const entered: number[] = [];
    const releases = Array.from({ length: 5 }, async (_, i) => {
      const release = await gate.enter(forever());
      entered.push(i);
      return release;
    });
    await tick();
    expect(entered).toEqual([0, 1]);
    (await releases[1])?.();
    await tick();
    expect(entered).toEqual([0, 1, 2]);
    for (const i of [0, 2, 3, 4]) (await releases[i])?.();
    expect(entered).toEqual([0, 1, 2, 3, 4]);
    expect(gate.size).toBe(0);
  });

  it('gives one turn for one release, however often it is called', async () => {
    const gate = new Turnstile(1);
    const first = await gate.enter(forever());
    const entered: number[] = [];
    for (const i of [1, 2]) void gate.enter(forever()).then(() => entered.push(i));
    first();
    first();
    await tick();
    expect(entered).toEqual([1]);
  });

  it('skips those who left the line', async () => {
    const gate = new Turnstile(1);
    const first = await gate.enter(forever());
    const leaving = forever();
    const left = gate.enter(leaving).catch((error: unknown) => error);
    const last = gate.enter(forever());
    leaving.end('ABORTED', 'left');
    expect(await left).toBe(leaving.error);
    first();
    (await last)();
    expect(gate.size).toBe(0);
    await expect(gate.enter(leaving)).rejects.toBe(leaving.error);
    expect(gate.size).toBe(0);
  });
});

describe('InstanceLocks', () => {
  it('keeps operations on one instance apart, not those on two, and remembers neither afterwards', async () => {
    const locks = new InstanceLocks();
    const a = await locks.acquire('a', forever(), 'test');
    const b = await locks.acquire('b', forever(), 'test');
    let second = false;
    const next = locks.acquire('a', forever(), 'test').then((release) => {
      second = true;
      return release;
    });
    await tick();
    expect([second, locks.size]).toEqual([false, 2]);
    a();
    (await next)();
    b();
    b();
    expect(locks.size).toBe(0);
  });

  it('forgets an instance whose only waiter left', async () => {
    const locks = new InstanceLocks();
    const over = forever();
    over.end('ABORTED', 'over');
    await expect(locks.acquire('a', over, 'test')).rejects.toBe(over.error);
    expect(locks.size).toBe(0);
  });
});
