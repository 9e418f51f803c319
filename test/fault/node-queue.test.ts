// Who finds another operation in the way is told which, since when, and how many more wait.
import { describe, expect, it } from 'vitest';
import type { ComputeError } from '../../src/index.js';
import { makeBench, request, UUID } from './node-harness.js';

async function rebooting() {
  const bench = makeBench();
  const node = await bench.open();
  await node.launch(request());
  bench.faults.add({ at: 'reboot', hang: 'deaf' });
  const reboot = node.reboot(UUID);
  await bench.faults.reached('reboot');
  return { bench, node, reboot };
}

describe('an instance with an operation under way', () => {
  it('shows it with its beginning', async () => {
    const { bench, node, reboot } = await rebooting();
    const view = await node.get(UUID);
    expect(view.task).toBe('reboot');
    expect(Math.abs(Date.parse(view.taskSince ?? '') - Date.now())).toBeLessThan(60_000);
    bench.faults.release();
    await reboot;
    expect(await node.get(UUID)).toMatchObject({ task: undefined, taskSince: undefined });
  });

  it('refuses at once who does not want to wait', async () => {
    const { bench, node, reboot } = await rebooting();
    const pause = node.pause(UUID);
    const refused = await node.shutdown(UUID, { wait: false }).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'INSTANCE_BUSY',
      operation: 'shutdown',
      instanceUuid: UUID,
      retryable: true,
      details: { running: 'reboot', sinceMs: expect.any(Number), waiting: 1 },
    });
    expect((refused as ComputeError).message).toMatch(/its reboot has been under way for \d+ ms, 1 more/);
    // Not cut short by a termination that would not wait.
    await expect(node.terminate(UUID, { wait: false })).rejects.toMatchObject({ code: 'INSTANCE_BUSY' });
    bench.faults.release();
    await Promise.all([reboot, pause]);
    await node.unpause(UUID, { wait: false });
    await node.terminate(UUID, { wait: false });
    expect(bench.left()).toEqual([]);
  });

  it('tells whose time is over in line what was in the way', async () => {
    const { bench, node, reboot } = await rebooting();
    const waiting = node.pause(UUID);
    const late = await node.shutdown(UUID, { timeoutMs: 50 }).catch((error: unknown) => error);
    expect(late).toMatchObject({
      code: 'TIMEOUT',
      operation: 'shutdown',
      retryable: true,
      details: { timeoutMs: 50, running: 'reboot', waiting: 1 },
    });
    expect((late as ComputeError).details['sinceMs']).toBeGreaterThanOrEqual(40);
    bench.faults.release();
    await Promise.all([reboot, waiting]);
    expect((await node.get(UUID)).powerState).toBe('paused');
  });

  it('does not keep others waiting', async () => {
    const { bench, node, reboot } = await rebooting();
    const other = '11111111-2222-4333-8444-555555555555';
    await node.launch(request({ uuid: other }));
    await node.pause(other, { wait: false });
    bench.faults.release();
    await reboot;
  });
});
