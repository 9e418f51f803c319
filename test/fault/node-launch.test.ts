// A launch that fails, is aborted, is late or is cut short leaves nothing, whichever step it has reached.
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ComputeError, type FaultPoint } from '../../src/index.js';
import { collect, makeBench, request, UUID } from './node-harness.js';

const POINTS: readonly FaultPoint[] = [
  'spawn',
  'spawn.image',
  'spawn.image.done',
  'spawn.definition',
  'spawn.definition.done',
  'spawn.network',
  'spawn.network.done',
  'spawn.start',
  'spawn.start.done',
];

describe('a launch that goes wrong', () => {
  it.each(POINTS)('leaves nothing when it fails at %s, and succeeds when tried again', async (at) => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at, fail: new ComputeError('START_FAILED', 'planted') });
    await expect(node.launch(request())).rejects.toMatchObject({ code: 'START_FAILED', message: 'planted' });
    expect(bench.left()).toEqual([]);
    expect(await node.list()).toEqual([]);
    expect((await node.report()).memoryMb.used).toBe(0);
    const { info } = await node.launch(request());
    expect(info.powerState).toBe('running');
  });

  it.each(POINTS)('leaves nothing when it is aborted at %s', async (at) => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at, hang: 'abortable' });
    const controller = new AbortController();
    const launch = node.launch(request(), { signal: controller.signal });
    await bench.faults.reached(at);
    controller.abort(new Error('changed my mind'));
    const error = await launch.catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ABORTED', operation: 'launch', instanceUuid: UUID });
    expect(bench.left()).toEqual([]);
    expect((await node.report()).vcpus.used).toBe(0);
  });

  it.each(POINTS)('leaves nothing when its time is over at %s', async (at) => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at, hang: 'abortable' });
    await expect(node.launch(request(), { timeoutMs: 150 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      retryable: true,
    });
    expect(bench.left()).toEqual([]);
    expect((await node.report()).diskGb.used).toBe(0);
  });

  it.each(POINTS)('is cut short by terminate at %s', async (at) => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at, hang: 'abortable' });
    const launch = node.launch(request());
    const settled = launch.catch((reason: unknown) => reason);
    await bench.faults.reached(at);
    await node.terminate(UUID);
    expect(await settled).toMatchObject({ code: 'ABORTED' });
    expect(bench.left()).toEqual([]);
    expect(await node.list()).toEqual([]);
  });

  it.each(POINTS)('is undone by close at %s', async (at) => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at, hang: 'abortable' });
    const settled = node.launch(request()).catch((reason: unknown) => reason);
    await bench.faults.reached(at);
    await node.close();
    expect(await settled).toMatchObject({ code: 'CLOSED' });
    expect(bench.left()).toEqual([]);
  });

  it('changes nothing under a signal that has fired already', async () => {
    const bench = makeBench();
    const node = await bench.open();
    const seen = collect(node);
    await expect(node.launch(request(), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    expect(bench.left()).toEqual([]);
    expect(seen).toEqual([]);
  });

  it('keeps claim and journal of what it cannot undo, until terminate succeeds', async () => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at: 'spawn.start.done', fail: new Error('planted') });
    bench.faults.add({ at: 'spawn.undo', fail: new Error('no undo') });
    bench.faults.add({ at: 'destroy', fail: new Error('no destroy'), times: 2 });
    await expect(node.launch(request())).rejects.toMatchObject({
      code: 'HYPERVISOR',
      details: { undoFailure: expect.stringContaining('no destroy') },
    });
    expect(bench.left()).toContain(`domain ${UUID}`);
    expect(bench.left()).toContain(`journal of ${UUID}`);
    expect((await node.report()).memoryMb.used).toBe(512);
    await expect(node.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    await expect(node.start(UUID)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(node.terminate(UUID)).rejects.toMatchObject({ code: 'HYPERVISOR' });
    expect((await node.report()).memoryMb.used).toBe(512);
    await node.terminate(UUID);
    expect(bench.left()).toEqual([]);
    expect((await node.report()).memoryMb.used).toBe(0);
  });

  it('does not destroy the domain of somebody else that has the uuid', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    const domain = bench.hypervisor.domains.get(UUID);
    await node.terminate(UUID);
    if (!domain) throw new Error('the launch made no domain');
    bench.hypervisor.define(domain.instance);
    await expect(node.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    expect(bench.left()).toEqual([`domain ${UUID}`]);
    expect((await node.report()).vcpus.used).toBe(0);
  });

  it('leaves a directory alone that it did not make', async () => {
    const bench = makeBench();
    const node = await bench.open();
    writeFileSync(`${bench.path}/${UUID}`, 'somebody else');
    await expect(node.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    expect(bench.left()).toEqual([UUID]);
    expect((await node.report()).vcpus.used).toBe(0);
  });

  it('gives its place to the next in line when it fails', async () => {
    const bench = makeBench();
    const node = await bench.open({ maxConcurrentLaunches: 1 });
    bench.faults.add({ at: 'spawn.start', hang: 'abortable' });
    const first = node.launch(request(), { timeoutMs: 100 }).catch((error: unknown) => error);
    const second = node.launch(request({ uuid: '11111111-2222-4333-8444-555555555555' }));
    expect(await first).toMatchObject({ code: 'TIMEOUT' });
    expect((await second).info.powerState).toBe('running');
  });

  it('leaves the line when it is aborted there, its claim given back', async () => {
    const bench = makeBench();
    const node = await bench.open({ maxConcurrentLaunches: 1 });
    bench.faults.add({ at: 'spawn.start', hang: 'abortable' });
    const controller = new AbortController();
    const first = node.launch(request(), { signal: controller.signal }).catch(() => undefined);
    await bench.faults.reached('spawn.start');
    const waiting = node.launch(request({ uuid: '11111111-2222-4333-8444-555555555555' }), { timeoutMs: 50 });
    expect((await node.report()).vcpus.used).toBe(2);
    await expect(waiting).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect((await node.report()).vcpus.used).toBe(1);
    controller.abort();
    await first;
  });
});
