// The reports of a node on a fake hypervisor: on change, to readers and sinks of every temper, and its service's status.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished, vi } from 'vitest';
import {
  applyDelta,
  ComputeError,
  type ComputeNode,
  callbackSink,
  FakeHypervisor,
  type FullReport,
  jsonLinesSink,
  PrometheusSink,
  type ReporterOptions,
  type ReportUpdate,
  type ResourceReport,
} from '../../../src/index.js';
import { makeBench, request, UUID } from '../../fault/node-harness.js';

/** Far apart, so that whatever is told meanwhile is told because it changed. */
const RARELY = { intervalMs: 3_600_000 };

async function reporterOf(node: ComputeNode, options: ReporterOptions = {}) {
  const reporter = await node.reporter({ ...RARELY, coalesceMs: 0, ...options });
  onTestFinished(() => reporter.close());
  return reporter;
}

it('tells a launch, a change of state and a termination as they happen, the claims with them', async () => {
  const node = await makeBench().open();
  const reporter = await reporterOf(node);
  expect(reporter.report).toMatchObject({
    type: 'full',
    sequence: 1,
    service: { state: 'up', enabled: true },
    node: { hypervisorHostname: 'fake-host', memoryMb: { used: 0 }, instances: 0 },
    inventory: { hypervisorType: 'fake' },
    instances: [],
  });
  await node.launch(request());
  await vi.waitFor(() =>
    expect(reporter.report).toMatchObject({
      node: { vcpus: { used: 1 }, memoryMb: { used: 512 }, diskGb: { used: 1 }, runningInstances: 1 },
      instances: [{ uuid: UUID, powerState: 'running', vcpus: 1, memoryMb: 512, diskGb: 1, task: undefined }],
    }),
  );
  await node.pause(UUID);
  await vi.waitFor(() => expect(reporter.report.instances).toMatchObject([{ powerState: 'paused' }]));
  await node.terminate(UUID);
  await vi.waitFor(() =>
    expect(reporter.report).toMatchObject({ node: { memoryMb: { used: 0 } }, instances: [] }),
  );
});

it('a claim that is refused, and a launch that fails, leave a report without them', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const reporter = await reporterOf(node);
  await expect(node.launch(request({ flavor: { vcpus: 1, memoryMb: 2 ** 20 } }))).rejects.toMatchObject({
    code: 'CLAIM_REFUSED',
  });
  bench.faults.add({ at: 'spawn', fail: new ComputeError('START_FAILED', 'it does not start') });
  await expect(node.launch(request())).rejects.toMatchObject({ code: 'START_FAILED' });
  await vi.waitFor(() =>
    expect(reporter.report).toMatchObject({
      service: { enabled: true, consecutiveBuildFailures: 1 },
      node: { memoryMb: { used: 0 } },
      instances: [],
    }),
  );
});

it('samples periodically: usage comes with rates, and the service was seen', async () => {
  const node = await makeBench().open();
  await node.launch(request());
  const reporter = await reporterOf(node, { intervalMs: 10, usageGroups: ['cpu', 'network'] });
  const { sequence, service } = reporter.report;
  await vi.waitFor(() => {
    expect(reporter.report.sequence).toBeGreaterThan(sequence + 1);
    const [instance] = reporter.report.instances;
    expect(instance).toMatchObject({
      usage: { maxMemoryMb: 512, network: { rxBytes: 0 } },
      rates: { cpuPercent: 0 },
    });
    expect(reporter.report.service.lastSeenMs).toBeGreaterThan(service.lastSeenMs);
  });
});

it('a reader gets one report whole, then deltas that lead to the newest, however slow it is', async () => {
  const node = await makeBench().open();
  const reporter = await reporterOf(node);
  const reports = reporter.reports();
  let mine = (await reports.next()).value as FullReport;
  expect(mine.type).toBe('full');
  for (let round = 0; round < 3; round++) {
    await node.launch(request());
    await node.pause(UUID);
    if (round < 2) await node.terminate(UUID);
    await vi.waitFor(() => expect(reporter.report.sequence).toBeGreaterThan(mine.sequence));
    const { value } = (await reports.next()) as { value: ResourceReport };
    expect(value.type).toBe('delta');
    if (value.type === 'delta') mine = applyDelta(mine, value);
  }
  // What it missed is in the delta that it reads, whatever came between.
  await vi.waitFor(() => expect(reporter.report.instances).toMatchObject([{ powerState: 'paused' }]));
  const { sequence } = reporter.report;
  while (mine.sequence < sequence) {
    const { value } = (await reports.next()) as { value: ResourceReport };
    if (value.type === 'delta') mine = applyDelta(mine, value);
  }
  expect(mine).toEqual(reporter.report);
});

it('readers end with their signal, by their own return, and with the reporter', async () => {
  const node = await makeBench().open();
  const reporter = await node.reporter(RARELY);
  const controller = new AbortController();
  const [aborted, left, closed] = [
    reporter.reports({ signal: controller.signal }),
    reporter.reports(),
    reporter.reports(),
  ];
  for (const one of [aborted, left, closed]) await one.next();
  const ends = [aborted.next(), left.next(), closed.next()];
  controller.abort();
  await left.return?.();
  await reporter.close();
  for (const end of ends) expect((await end).done).toBe(true);
});

it('many changes at once are few reports', async () => {
  const node = await makeBench(new FakeHypervisor({ vcpus: 64, memoryMb: 2 ** 16, localGb: 1000 })).open();
  const reporter = await reporterOf(node, { coalesceMs: 50 });
  const before = reporter.report.sequence;
  const launches = Array.from({ length: 20 }, (_, index) =>
    node.launch({ ...request({ name: `guest-${index}` }), uuid: crypto.randomUUID() }),
  );
  await Promise.all(launches);
  await vi.waitFor(() => expect(reporter.report.node.runningInstances).toBe(20));
  // Each of them is at least claim, four steps, start: far more than a hundred changes.
  expect(reporter.report.sequence - before).toBeLessThan(60);
});

it('a sink that hangs and one that throws delay neither another nor a launch', async () => {
  const node = await makeBench().open();
  let hung = 0;
  let thrown = 0;
  const good: ReportUpdate[] = [];
  const reporter = await reporterOf(node, {
    sinkBackoffMs: 5,
    sinks: [
      callbackSink(() => {
        hung += 1;
        return new Promise<void>(() => undefined);
      }, 'deaf'),
      callbackSink(() => {
        thrown += 1;
        throw new Error('no');
      }, 'angry'),
      callbackSink((update) => void good.push(update), 'good'),
    ],
  });
  await node.launch(request());
  await vi.waitFor(() => {
    expect(good.at(-1)?.report.node.runningInstances).toBe(1);
    expect(thrown).toBeGreaterThan(2);
  });
  expect(good[0]?.delta).toBeUndefined();
  expect(good[1]?.delta).toMatchObject({ type: 'delta', since: 1 });
  expect(hung).toBe(1);
  expect(reporter.sinks).toMatchObject([
    { name: 'deaf', delivered: 0 },
    { name: 'angry', delivered: 0, error: new Error('no') },
    { name: 'good', failed: 0, error: undefined },
  ]);
});

it('a sink is given the whole report after a failure, and in time after a hang', async () => {
  const node = await makeBench().open();
  const updates: ReportUpdate[] = [];
  const reporter = await reporterOf(node, {
    sinkBackoffMs: 1,
    sinkTimeoutMs: 100,
    sinks: [
      callbackSink((update) => {
        updates.push(update);
        if (updates.length === 2) return new Promise<void>(() => undefined);
      }),
    ],
  });
  await vi.waitFor(() => expect(updates).toHaveLength(1));
  await node.launch(request());
  await vi.waitFor(() => expect(reporter.sinks).toMatchObject([{ failed: 1, error: undefined }]));
  expect(updates[1]?.delta).toBeDefined();
  expect(updates[2]?.delta).toBeUndefined();
  // Its sample may have been taken before the guest ran.
  await vi.waitFor(() => expect(updates.at(-1)?.report.node.runningInstances).toBe(1));
});

it('a sample that comes before a report which waits leaves the immediates of the process alone', async () => {
  const node = await makeBench().open();
  const reporter = await reporterOf(node, { coalesceMs: 60_000 });
  await node.launch(request());
  await reporter.refresh();
  expect(reporter.report.node.runningInstances).toBe(1);
  const fired = vi.fn();
  setImmediate(fired).unref();
  await sleep(20);
  expect(fired).toHaveBeenCalledOnce();
});

it('JSON lines: the first whole, then deltas, nanoseconds as text', async () => {
  const node = await makeBench().open();
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (data: Buffer) => (text += data.toString()));
  await reporterOf(node, { sinks: [jsonLinesSink(stream)] });
  await node.launch(request());
  const lines = () =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as ResourceReport);
  await vi.waitFor(() => expect(lines().length).toBeGreaterThan(1));
  expect(
    lines()
      .map(({ type }) => type)
      .slice(0, 2),
  ).toEqual(['full', 'delta']);
});

it('JSON lines: a stream that is full is waited for, others are not', async () => {
  const node = await makeBench().open();
  const stream = new PassThrough({ highWaterMark: 1 });
  const reporter = await reporterOf(node, { sinks: [jsonLinesSink(stream), callbackSink(() => undefined)] });
  await node.launch(request());
  await vi.waitFor(() => expect(reporter.sinks[1]?.sequence).toBe(reporter.report.sequence));
  expect(reporter.sinks[0]).toMatchObject({ delivered: 0, failed: 0 });
  stream.resume();
  await vi.waitFor(() => expect(reporter.sinks[0]?.sequence).toBe(reporter.report.sequence));
});

it('JSON lines: a stream that breaks is a failure of its sink, not of the process', async () => {
  const node = await makeBench().open();
  const stream = new PassThrough();
  const reporter = await reporterOf(node, { sinkBackoffMs: 5, sinks: [jsonLinesSink(stream)] });
  stream.destroy(new Error('EPIPE'));
  await node.launch(request());
  await vi.waitFor(() => expect(reporter.sinks[0]).toMatchObject({ error: { message: 'EPIPE' } }));
});

it('Prometheus reads the newest report on the loopback, and nothing else there', async () => {
  const node = await makeBench().open();
  const sink = new PrometheusSink({ port: 0 });
  const reporter = await reporterOf(node, { sinks: [sink] });
  await node.launch(request());
  await reporter.refresh();
  await vi.waitFor(() => expect(reporter.sinks[0]?.sequence).toBe(reporter.report.sequence));
  const { url = '' } = sink;
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  await vi.waitFor(async () => {
    const response = await fetch(url);
    expect(response.headers.get('content-type')).toContain('version=0.0.4');
    const text = await response.text();
    expect(text).toContain('node_compute_resource_used{resource="memory_mb"} 512\n');
    expect(text).toContain(
      `node_compute_instance_state{uuid="${UUID}",domain="instance-00000001",state="running"} 1\n`,
    );
    expect(text).toContain(`# TYPE node_compute_instance_cpu_seconds_total counter\n`);
  });
  expect((await fetch(new URL('/', url))).status).toBe(404);
  expect((await fetch(url, { method: 'POST' })).status).toBe(405);
  const taken = new PrometheusSink({ port: Number(new URL(url).port) });
  await expect(node.reporter({ ...RARELY, sinks: [taken] })).rejects.toMatchObject({ code: 'SYSTEM' });
  await reporter.close();
  await expect(fetch(url)).rejects.toThrow();
});

it('rejects where the host cannot be sampled at first; later it goes on with what it knows', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const lost = new ComputeError('CONNECTION_LOST', 'gone');
  bench.faults.add({ at: 'getAvailableResource', fail: lost });
  await expect(node.reporter(RARELY)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
  const reporter = await reporterOf(node, { intervalMs: 10 });
  bench.faults.add({ at: 'getInstancesUsage', fail: lost, times: 3 });
  const { sequence } = reporter.report;
  await vi.waitFor(() => expect(reporter.report.sequence).toBeGreaterThan(sequence + 1));
  await expect(reporter.refresh({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
});

it('refuses options that are none', async () => {
  const node = await makeBench().open();
  for (const options of [{ intervalMs: 0 }, { intervalMs: Number.NaN }, { sinkTimeoutMs: 2 ** 40 }]) {
    await expect(node.reporter(options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  }
});

it('ends with its node, and a closed node makes none', async () => {
  const node = await makeBench().open();
  const reporter = await node.reporter(RARELY);
  const reports = reporter.reports();
  await reports.next();
  await node.close();
  expect((await reports.next()).done).toBe(true);
  await expect(node.reporter()).rejects.toMatchObject({ code: 'CLOSED' });
});

it('an operator disables the service: it is told, it outlives the process, and launches go on', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const reporter = await reporterOf(node);
  await expect(node.service.disable('')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await node.service.disable('new memory');
  const disabled = { enabled: false, disabledBy: 'operator', disabledReason: 'new memory' };
  await vi.waitFor(() => expect(reporter.report.service).toMatchObject(disabled));
  await node.launch(request());
  const { nodeUuid } = reporter.report;
  await node.close();

  const next = await bench.open();
  expect(next.service.status).toMatchObject(disabled);
  const again = await reporterOf(next);
  expect(again.report.nodeUuid).toBe(nodeUuid);
  expect(JSON.parse(readFileSync(join(bench.path, 'service'), 'utf8'))).toMatchObject({ uuid: nodeUuid });
  await next.service.enable();
  expect(next.service.status).toMatchObject({ enabled: true, disabledReason: undefined });
  await next.close();
  expect((await bench.open()).service.status.enabled).toBe(true);
});

it('launches that fail through the host disable the service; one that succeeds, or a pause, enables it', async () => {
  const bench = makeBench();
  const node = await bench.open({ buildFailureThreshold: 2, buildFailureHoldMs: 200 });
  const failing = async (code: 'START_FAILED' | 'IMAGE_NOT_FOUND') => {
    bench.faults.add({ at: 'spawn', fail: new ComputeError(code, 'no') });
    await expect(node.launch(request())).rejects.toMatchObject({ code });
  };
  await failing('START_FAILED');
  await failing('IMAGE_NOT_FOUND');
  expect(node.service.status).toMatchObject({ enabled: true, consecutiveBuildFailures: 1 });
  await failing('START_FAILED');
  expect(node.service.status).toMatchObject({ enabled: false, disabledBy: 'build-failures' });
  await vi.waitFor(() => expect(node.service.status.enabled).toBe(true));
  // It has not proved itself: one more is enough.
  await failing('START_FAILED');
  expect(node.service.status.enabled).toBe(false);
  await node.launch(request());
  expect(node.service.status).toMatchObject({ enabled: true, consecutiveBuildFailures: 0 });
});

it('keeps nothing alive by itself', async () => {
  const bench = makeBench();
  const script = `
    import { ComputeNode, PrometheusSink } from ${JSON.stringify(new URL('../../../dist/index.js', import.meta.url).href)};
    const node = await ComputeNode.open({ driver: 'fake.FakeDriver', instancesPath: ${JSON.stringify(bench.path)} });
    await node.reporter({ sinks: [new PrometheusSink({ port: 0 })] });
    console.log('open');
  `;
  const { spawn } = await import('node:child_process');
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [code] = (await Promise.race([once(child, 'exit'), sleep(15_000).then(() => ['late'])])) as [unknown];
  expect(code).toBe(0);
});

it('CPUs of its own are told, kept over a restart, and free again', async () => {
  const bench = makeBench();
  const node = await bench.open({ dedicatedCpus: [4, 5, 6] });
  const flavor = { vcpus: 2, memoryMb: 512, rootGb: 1, extraSpecs: { 'hw:cpu_policy': 'dedicated' } };
  await node.launch(request({ flavor }));
  const placed = { dedicated: [4, 5], shared: [0, 1, 2, 3, 7], nodes: [0] };
  expect(bench.hypervisor.domains.get(UUID)?.instance.placement).toEqual(placed);
  const reporter = await reporterOf(node);
  expect(reporter.report).toMatchObject({
    node: { vcpus: { total: 5, used: 0 }, pcpus: { total: 3, used: 2 } },
    instances: [{ vcpus: 0, pcpus: 2, memoryMb: 512 }],
  });
  await node.close();

  const next = await bench.open({ dedicatedCpus: [4, 5, 6] });
  const other = { ...request({ flavor }), uuid: crypto.randomUUID() };
  await expect(next.launch(other)).rejects.toMatchObject({
    code: 'CLAIM_REFUSED',
    retryable: true,
    details: { refused: [{ resource: 'pcpus', asked: 2, used: 2, limit: 3 }] },
  });
  await next.terminate(UUID);
  await next.launch(other);
  expect(await next.report()).toMatchObject({ pcpus: { used: 2 } });
});

it('a host has only the CPUs that it has', async () => {
  await expect(makeBench().open({ dedicatedCpus: [63] })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});
