import { expect, it } from 'vitest';
import { ComputeError, type ErrorCode } from '../../../src/driver/errors.js';
import { Domains } from '../../../src/libvirt/domains.js';
import type { CallContext } from '../../../src/libvirt/hypervisor.js';

const context = { operation: 'powerOff', instanceUuid: '6f2d1c3e-58a4-4b7e-9a31-0c9d5e7f1a2b' };

/** Domains whose requests to shut down end so, one after the other; the guest never stops by itself. */
function domains(...outcomes: (ErrorCode | 'asked')[]) {
  const limits: (number | undefined)[] = [];
  const hypervisor = {
    watch: () => ({
      next: async () => {
        throw new ComputeError('TIMEOUT', 'no event');
      },
      [Symbol.dispose]: () => undefined,
    }),
    onDomain: async (_domain: unknown, { timeoutMs }: CallContext, run: (d: unknown) => unknown) => {
      const result = await run({ shutdown: () => 'shutdown', info: () => ({ state: 1 }) });
      if (result !== 'shutdown') return result;
      limits.push(timeoutMs);
      const outcome = outcomes.shift() ?? 'asked';
      if (outcome === 'TIMEOUT') await new Promise((resolve) => setTimeout(resolve, timeoutMs));
      if (outcome !== 'asked') throw new ComputeError(outcome, 'planted');
      return undefined;
    },
  };
  return { domains: new Domains(hypervisor as never, 1000), limits };
}

const limits = { timeoutMs: 30, retryIntervalMs: 10 };

it('gives an agent that takes the request and does nothing no more time than the guest has', async () => {
  const one = domains('TIMEOUT');
  expect(await one.domains.shutdown({ uuid: 'x' } as never, limits, context)).toBe(false);
  expect(one.limits.length).toBeGreaterThan(0);
  // A timer may be early by a fraction of a millisecond: the rest of the time is then asked for once more.
  for (const limit of one.limits) expect(limit).toBeLessThanOrEqual(30);
});

it('says that it stopped where it was gone when asked, and passes on what else went wrong', async () => {
  expect(await domains('INVALID_STATE').domains.shutdown({} as never, limits, context)).toBe(true);
  expect(await domains('asked', 'INSTANCE_NOT_FOUND').domains.shutdown({} as never, limits, context)).toBe(
    true,
  );
  for (const code of ['CONNECTION_LOST', 'ABORTED'] as const) {
    await expect(domains(code).domains.shutdown({} as never, limits, context)).rejects.toMatchObject({
      code,
    });
  }
});
