import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ComputeHost } from '../../../src/agent/compute-host.js';
import { outlast } from '../../../src/agent/outage.js';
import { ComputeError, type ErrorCode } from '../../../src/driver/errors.js';

const TIMEOUT_MS = 600_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const failure = (code: ErrorCode, operation: string, retryable = true): ComputeError =>
  new ComputeError(code, 'no', { operation, retryable });
const LOST = failure('CONNECTION_LOST', 'pause');

function bench(state: 'up' | 'down' = 'up') {
  const status = { state };
  const stop = new AbortController();
  const log = { debug: () => 0, info: () => 0, warn: () => 0, error: () => 0 };
  const host = { node: { service: { status } }, signal: stop.signal, log, outageTimeoutMs: TIMEOUT_MS };
  return { status, stop, host: host as unknown as ComputeHost };
}

const outcome = <T>(work: Promise<T>): Promise<unknown> => work.catch((error: unknown) => error);

it('does not begin while the hypervisor is known to be away', async () => {
  const { host, status } = bench('down');
  const work = vi.fn(async (isAgain: boolean) => isAgain);
  const result = outcome(outlast(host, 'u', work));
  await vi.advanceTimersByTimeAsync(TIMEOUT_MS / 2);
  expect(work).not.toHaveBeenCalled();
  status.state = 'up';
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await result).toBe(false);
});

it.each([LOST, failure('CONNECTION_LOST', 'launch', false), failure('IMAGE_DOWNLOAD_FAILED', 'download')])(
  'is done again once who failed it is back: %s',
  async (error) => {
    const { host } = bench();
    let tries = 0;
    const work = async (isAgain: boolean): Promise<string> => {
      expect(isAgain).toBe(tries > 0);
      if (tries++ < 3) throw error;
      return 'done';
    };
    const result = outcome(outlast(host, 'u', work));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await result).toBe('done');
    expect(tries).toBe(4);
  },
);

it.each([
  failure('CONNECTION_LOST', 'call object_action'),
  failure('IMAGE_DOWNLOAD_FAILED', 'download', false),
  failure('TIMEOUT', 'pause'),
  new TypeError('a bug'),
])('is not done again for what does not pass: %s', async (error) => {
  const work = vi.fn(() => Promise.reject(error));
  expect(await outcome(outlast(bench().host, 'u', work))).toBe(error);
  expect(work).toHaveBeenCalledTimes(1);
});

it('ends with the error when its time is over, when nobody wants it any more, and with the agent', async () => {
  const work = vi.fn(() => Promise.reject(LOST));
  const late = outcome(outlast(bench().host, 'u', work));
  await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 10_000);
  const before = work.mock.calls.length;
  expect(before).toBeGreaterThan(50);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(await late).toBe(LOST);
  const { length: after } = work.mock.calls;
  await vi.advanceTimersByTimeAsync(TIMEOUT_MS);
  expect(work).toHaveBeenCalledTimes(after);

  const unwanted = vi.fn(() => Promise.reject(LOST));
  const dropped = outcome(outlast(bench().host, 'u', unwanted, async () => false));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await dropped).toBe(LOST);
  expect(unwanted).toHaveBeenCalledTimes(1);

  const { host, stop } = bench('down');
  const ended = outcome(outlast(host, 'u', work));
  stop.abort(LOST);
  expect(await ended).toBe(LOST);
});
