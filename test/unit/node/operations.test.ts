// Operations on an instance through a node: in their order, in time, and on what is not there.
import { describe, expect, it } from 'vitest';
import { makeBench, request, UUID } from '../../fault/node-harness.js';

const OTHER = '11111111-2222-4333-8444-555555555555';

describe('operations', () => {
  it('suspend, resume, crash dump and diagnostics', async () => {
    const node = await makeBench().open();
    await node.launch(request());
    const state = async () => (await node.get(UUID)).powerState;
    await expect(node.resume(UUID)).resolves.toBeUndefined();
    await node.suspend(UUID);
    await node.suspend(UUID);
    expect(await state()).toBe('suspended');
    await expect(node.guests.diagnostics(UUID)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await node.resume(UUID);
    await node.triggerCrashDump(UUID);
    expect(await node.guests.diagnostics(UUID)).toMatchObject({ state: 'running', numNics: 1 });
    await expect(node.guests.diagnostics(OTHER)).rejects.toMatchObject({
      code: 'INSTANCE_NOT_FOUND',
    });
    await expect(node.guests.diagnostics('../x')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('stop, start, reboot, pause and unpause; repeated ones are success', async () => {
    const node = await makeBench().open();
    await node.launch(request());
    const state = async () => (await node.get(UUID)).powerState;
    await node.pause(UUID);
    await node.pause(UUID);
    expect(await state()).toBe('paused');
    await node.unpause(UUID);
    expect(await state()).toBe('running');
    await node.shutdown(UUID);
    await node.shutdown(UUID, { shutdownTimeoutMs: 0 });
    expect(await state()).toBe('shutdown');
    await expect(node.pause(UUID)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await node.start(UUID);
    await node.start(UUID);
    await node.reboot(UUID);
    await node.reboot(UUID, 'hard');
    expect(await state()).toBe('running');
    expect(Buffer.from(await node.console(UUID)).toString()).toMatch(/^(instance-00000001 booted\n){4}$/);
    expect((await node.console(UUID, { maxBytes: 7 })).byteLength).toBe(7);
  });

  it('discards the image record of a snapshot behind the one that fills it, and of an instance that is gone', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    bench.faults.add({ at: 'snapshot.upload', hang: 'deaf' });
    const filled = node.snapshot(UUID, { type: 'glance', imageId: OTHER });
    await bench.faults.reached('snapshot.upload');
    const discarded = node.discardSnapshot(UUID, OTHER);
    await expect(node.discardSnapshot(UUID, OTHER, { wait: false })).rejects.toMatchObject({
      code: 'INSTANCE_BUSY',
    });
    bench.faults.release();
    await Promise.all([filled, discarded]);
    expect(bench.hypervisor.snapshots.get(OTHER)).toMatchObject({ state: 'whole' });

    await node.terminate(UUID);
    bench.hypervisor.setSnapshot(OTHER, { instanceUuid: UUID, state: 'making' });
    await node.discardSnapshot(UUID, OTHER);
    expect(bench.hypervisor.snapshots.has(OTHER)).toBe(false);
    await expect(node.discardSnapshot(UUID, '../x')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('gives the guest its time before it pulls the plug', async () => {
    const bench = makeBench();
    const node = await bench.open({}, { guest: () => ({ shutdownMs: 'never' }) });
    await node.launch(request());
    const begin = Date.now();
    await node.shutdown(UUID, { shutdownTimeoutMs: 80 });
    expect(Date.now() - begin).toBeGreaterThanOrEqual(75);
    expect((await node.get(UUID)).powerState).toBe('shutdown');
  });

  it('run one after another on one instance, in order of arrival', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    bench.faults.add({ at: 'pause', delayMs: 30 });
    const order: string[] = [];
    await Promise.all([
      node.pause(UUID).then(() => order.push('pause')),
      node.unpause(UUID).then(() => order.push('unpause')),
      node.shutdown(UUID).then(() => order.push('shutdown')),
      node.start(UUID).then(() => order.push('start')),
    ]);
    expect(order).toEqual(['pause', 'unpause', 'shutdown', 'start']);
    expect((await node.get(UUID)).powerState).toBe('running');
  });

  it('on one instance do not wait for another, and views wait for nobody', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    await node.launch(request({ uuid: OTHER }));
    bench.faults.add({ at: 'reboot', hang: 'abortable', uuid: UUID });
    const controller = new AbortController();
    const reboot = node.reboot(UUID, 'hard', { signal: controller.signal }).catch((error: unknown) => error);
    await bench.faults.reached('reboot');
    await node.reboot(OTHER, 'hard');
    expect((await node.get(UUID)).task).toBe('reboot');
    expect((await node.list()).map(({ task }) => task).sort()).toEqual(['reboot', undefined]);
    controller.abort();
    expect(await reboot).toMatchObject({ code: 'ABORTED', operation: 'reboot' });
    expect((await node.get(UUID)).task).toBeUndefined();
  });

  it('leave the line when their signal fires or their time is over', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    bench.faults.add({ at: 'pause', hang: 'abortable' });
    const controller = new AbortController();
    const pause = node.pause(UUID, { signal: controller.signal }).catch((error: unknown) => error);
    await bench.faults.reached('pause');
    await expect(node.start(UUID, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    controller.abort();
    await pause;
    await node.start(UUID);
  });

  it('are cut short by terminate, also those in line', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    bench.faults.add({ at: 'reboot', hang: 'abortable' });
    const reboot = node.reboot(UUID, 'hard').catch((error: unknown) => error);
    const start = node.start(UUID).catch((error: unknown) => error);
    await bench.faults.reached('reboot');
    await Promise.all([node.terminate(UUID), node.terminate(UUID)]);
    expect(await reboot).toMatchObject({ code: 'ABORTED' });
    expect(await start).toMatchObject({ code: 'ABORTED', message: expect.stringContaining('termination') });
    expect(bench.left()).toEqual([]);
  });

  it('wait for the launch that they come after', async () => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at: 'spawn.start', delayMs: 30 });
    const launch = node.launch(request());
    expect(await node.get(UUID)).toMatchObject({ task: 'launch', powerState: 'nostate' });
    await node.shutdown(UUID);
    await launch;
    expect((await node.get(UUID)).powerState).toBe('shutdown');
  });

  it('on an unknown instance are INSTANCE_NOT_FOUND, except terminate', async () => {
    const node = await makeBench().open();
    for (const call of [
      node.get(UUID),
      node.console(UUID),
      node.start(UUID),
      node.shutdown(UUID),
      node.reboot(UUID),
      node.pause(UUID),
      node.suspend(UUID),
      node.resize(UUID, { vcpus: 1, memoryMb: 1 }),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND', instanceUuid: UUID });
    }
    await node.terminate(UUID);
  });

  it('take a uuid in any case and refuse what is none', async () => {
    const node = await makeBench().open();
    await node.launch(request({ uuid: UUID.toUpperCase() }));
    expect((await node.get(UUID.toUpperCase())).uuid).toBe(UUID);
    for (const hostile of ['', '..', `${UUID}/..`, `${UUID}\n`, 7 as unknown as string]) {
      await expect(node.terminate(hostile)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await expect(node.get(hostile)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });

  it('that the driver cannot do are UNSUPPORTED and change nothing', async () => {
    const node = await makeBench().open();
    await node.launch(request());
    for (const call of [
      node.guests.pingAgent(UUID),
      node.guests.openConsole(UUID),
      node.migrate(UUID, 'elsewhere'),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    }
    expect((await node.get(UUID)).powerState).toBe('running');
    expect((await node.report()).vcpus.used).toBe(1);
  });
});
