import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { RemoteError } from '../../../src/agent/errors.js';
import { persist } from '../../../src/agent/persist.js';
import { ComputeError, type ErrorCode } from '../../../src/driver/errors.js';
import { GenerationConflict } from '../../../src/resources/placement/placement-api.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const { signal } = new AbortController();
const local = (code: ErrorCode, operation: string, retryable = true): ComputeError =>
  new ComputeError(code, 'no', { operation, retryable });
const remote = (failureClass: string): RemoteError =>
  new RemoteError(
    { class: failureClass, module: 'm', message: '', args: [], kwargs: {} },
    { operation: 'call m' },
  );

async function tries(error: unknown, hours: number): Promise<{ count: number; failure: unknown }> {
  let count = 0;
  const end = performance.now() + hours * 3_600_000;
  const work = persist(signal, async () => {
    count++;
    if (performance.now() < end) throw error;
    return 'back';
  }).catch((failure: unknown) => failure);
  await vi.advanceTimersByTimeAsync(hours * 3_600_000 + 60_000);
  return { count, failure: await work };
}

it.each([
  local('TIMEOUT', 'call object_action'),
  local('TIMEOUT', 'cast build_instances'),
  local('CONNECTION_LOST', 'call object_action'),
  local('PLACEMENT_FAILED', 'Placement'),
  remote('DBConnectionError'),
  new GenerationConflict('allocations'),
])('waits for hours for who is away: %s', async (error) => {
  const { count, failure } = await tries(error, 3);
  expect(count).toBeGreaterThan(100);
  expect(failure).toBe('back');
});

it.each([
  local('TIMEOUT', 'launch'),
  local('CONNECTION_LOST', 'get domain'),
  local('PLACEMENT_FAILED', 'Placement', false),
  remote('InstanceNotFound'),
  new TypeError('a bug'),
])('does not ask again for what does not pass: %s', async (error) => {
  const { count, failure } = await tries(error, 1);
  expect(count).toBe(1);
  expect(failure).toBe(error);
});

it('gives up after ten minutes on a conductor that waits for somebody in vain', async () => {
  const error = remote('MessagingTimeout');
  const begin = performance.now();
  let last = begin;
  const work = persist(signal, async () => {
    last = performance.now();
    throw error;
  }).catch((failure: unknown) => failure);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await work).toBe(error);
  expect(last - begin).toBeGreaterThanOrEqual(600_000);
  expect(last - begin).toBeLessThan(700_000);
});
