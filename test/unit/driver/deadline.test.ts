// A call ends once, for one reason, and leaves neither timer nor listener behind.
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Deadline } from '../../../src/driver/deadline.js';
import { ComputeError } from '../../../src/driver/errors.js';

const UUID = '6f2d1c3e-58a4-4b7e-9a31-0c9d5e7f1a2b';

describe('Deadline', () => {
  it('ends with the reason of the signal as cause', async () => {
    const controller = new AbortController();
    using deadline = new Deadline({ operation: 'spawn', instanceUuid: UUID, signal: controller.signal });
    deadline.check();
    const never = deadline.race(new Promise<never>(() => undefined));
    controller.abort('enough');
    await expect(never).rejects.toMatchObject({
      code: 'ABORTED',
      operation: 'spawn',
      instanceUuid: UUID,
      cause: 'enough',
      message: `spawn of instance ${UUID} was aborted`,
    });
    expect(() => deadline.check()).toThrow(ComputeError);
  });

  it('is over from the start under a signal that has fired', async () => {
    using deadline = new Deadline({ operation: 'spawn', signal: AbortSignal.abort() });
    expect(deadline.error?.code).toBe('ABORTED');
    await expect(deadline.race(Promise.reject(new Error('dropped')))).rejects.toMatchObject({
      code: 'ABORTED',
    });
  });

  it('times out as retryable', async () => {
    using deadline = new Deadline({ operation: 'getInfo', timeoutMs: 5 });
    await expect(deadline.race(new Promise<never>(() => undefined))).rejects.toMatchObject({
      code: 'TIMEOUT',
      retryable: true,
      details: { timeoutMs: 5 },
    });
  });

  it('keeps the first reason', () => {
    using deadline = new Deadline({ operation: 'spawn' });
    deadline.end('CLOSED', 'was cut short');
    deadline.end('ABORTED', 'again');
    expect(deadline.error).toMatchObject({
      code: 'CLOSED',
      message: 'spawn was cut short',
      operation: 'spawn',
    });
  });

  it('puts its reason in the place of an ABORTED, and of nothing else', () => {
    using deadline = new Deadline({ operation: 'spawn' });
    const inner = new ComputeError('ABORTED', 'inner');
    expect(deadline.explain(inner)).toBe(inner);
    deadline.end('TIMEOUT', 'is late');
    expect(deadline.explain(inner)).toBe(deadline.error);
    const other = new ComputeError('NO_SPACE', 'other');
    expect(deadline.explain(other)).toBe(other);
  });

  it('has no limit for Infinity, and none that setTimeout would turn into now', async () => {
    for (const timeoutMs of [Number.POSITIVE_INFINITY, 2 ** 40]) {
      using deadline = new Deadline({ operation: 'spawn', timeoutMs });
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(deadline.error).toBeUndefined();
    }
  });

  it.each([-1, Number.NaN])('refuses a time of %s', (timeoutMs) => {
    expect(() => new Deadline({ operation: 'spawn', timeoutMs })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('forgets signal and timer when it is disposed of', () => {
    const { signal } = new AbortController();
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    {
      using deadline = new Deadline({ operation: 'spawn', signal, timeoutMs: 60_000 });
      expect(getEventListeners(signal, 'abort')).toHaveLength(1);
      deadline.check();
    }
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(timers()).toBe(before);
  });
});
