import { expect, it } from 'vitest';
import { ComputeError, type ErrorCode } from '../../../src/driver/errors.js';
import type { UnnumberedEvent } from '../../../src/driver/event-stream.js';
import { SavedMemory } from '../../../src/libvirt/saved-memory.js';
import type { NativeDomain } from '../../../src/native.js';

const UUID = '6f2d1c3e-58a4-4b7e-9a31-0c9d5e7f1a2b';
const context = { operation: 'resume', instanceUuid: UUID };

/** A domain whose starts fail with these codes, one after the other, and then succeed. */
function memory(...failures: ErrorCode[]) {
  const events: UnnumberedEvent[] = [];
  let discarded = 0;
  const domain = {
    uuid: UUID,
    name: 'instance-00000001',
    managedSaveRemove: async () => {
      discarded += 1;
      return true;
    },
  } as unknown as NativeDomain;
  const hypervisor = {
    events: { publish: (event: UnnumberedEvent) => events.push(event) },
    onDomain: async (one: NativeDomain, _context: unknown, run: (d: NativeDomain, id: number) => unknown) =>
      await run(one, 0),
  };
  const domains = {
    start: async () => {
      const code = failures.shift();
      if (code) throw new ComputeError(code, 'planted');
    },
  };
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const saved = new SavedMemory(hypervisor as never, domains as never, silent);
  return { load: () => saved.load(domain, context), events, discarded: () => discarded };
}

it('is kept where a start fails for a reason that passes', async () => {
  const one = memory('START_FAILED', 'START_FAILED');
  expect(await one.load()).toBe(true);
  expect([one.events, one.discarded()]).toEqual([[], 0]);
});

it('is given up, with an event, where it never loads', async () => {
  const one = memory('START_FAILED', 'START_FAILED', 'START_FAILED');
  expect(await one.load()).toBe(false);
  expect(one.discarded()).toBe(1);
  expect(one.events).toMatchObject([{ type: 'saved-state-lost', uuid: UUID, detail: 'planted' }]);
});

it.each(['ABORTED', 'TIMEOUT', 'CONNECTION_LOST'] as const)(
  'is kept where the start ends with %s',
  async (code) => {
    const one = memory(code);
    await expect(one.load()).rejects.toMatchObject({ code });
    expect([one.events, one.discarded()]).toEqual([[], 0]);
  },
);
