import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { unacceptable } from '../../../src/agent/errors.js';
import { LimitedLog } from '../../../src/agent/limited-log.js';
import { ReportLog } from '../../../src/agent/report-log.js';
import type { RpcReport } from '../../../src/agent/rpc-server.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const bad: RpcReport = { kind: 'unreadable', bytes: 3, error: unacceptable('json', 'it is not JSON') };
const failed: RpcReport = { kind: 'failed', method: 'm', uniqueId: 'u', error: new Error('no') };

it('a flood is a few lines and one sum a period, for each kind, and all of it is counted', () => {
  const lines: string[] = [];
  const at =
    (level: string) =>
    (text: string): void =>
      void lines.push(`${level} ${text}`);
  const log = new LimitedLog(
    { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
    { mostLines: 2, periodMs: 1000 },
  );
  const reports = new ReportLog(log);
  for (let count = 0; count < 500; count++) reports.add(bad);
  reports.add(failed);
  const line = 'warn a message: unreadable: a message is not acceptable: it is not JSON';
  expect(lines).toEqual([line, line, 'warn m failed: no']);
  vi.advanceTimersByTime(1000);
  expect(lines.splice(0).at(-1)).toBe('warn 498 more of the kind unreadable');
  vi.advanceTimersByTime(10_000);
  expect(lines).toEqual([]);
  for (let count = 0; count < 3; count++) reports.add(bad);
  log.flush();
  expect(lines).toEqual([line, line, 'warn 1 more of the kind unreadable']);
  expect(vi.getTimerCount()).toBe(0);
  expect(reports.totals).toMatchObject({ unreadable: 503, failed: 1, refused: 0 });
});

it('lines of no kind are all written', () => {
  const info = vi.fn();
  const log = new LimitedLog(
    { debug: () => undefined, info, warn: () => undefined, error: () => undefined },
    { mostLines: 1 },
  );
  for (let count = 0; count < 20; count++) log.info('launched', { instanceUuid: String(count) });
  expect(info).toHaveBeenCalledTimes(20);
  expect(vi.getTimerCount()).toBe(0);
});
