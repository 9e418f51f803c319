// What an embedder sees of a node: launch and its log, events, the lock, close, the report.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { ComputeError, ComputeNode, FakeDriver, type Logger, registerDriver } from '../../../src/index.js';
import { collect, makeBench, request, UUID } from '../../fault/node-harness.js';

const OTHER = '11111111-2222-4333-8444-555555555555';

interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

function recordingLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: string) => (message: string, fields?: Readonly<Record<string, unknown>>) => {
    lines.push({ level, message, fields });
  };
  return { lines, logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } };
}

describe('launch', () => {
  it('gives the instance, what the hypervisor says of it, and the time of each step', async () => {
    const node = await makeBench().open();
    const result = await node.launch(request());
    expect(result.instance).toMatchObject({
      uuid: UUID,
      name: 'instance-00000001',
      displayName: 'guest',
      powerState: 'running',
      task: undefined,
      imageId: 'image',
    });
    expect(result.instance.macs).toEqual([expect.stringMatching(/^fa:16:3e(:[0-9a-f]{2}){3}$/)]);
    expect(result.info).toMatchObject({ uuid: UUID, vcpus: 1, maxMemoryKib: 512 * 1024 });
    expect(result.steps.map(({ step }) => step)).toEqual(['claim', 'image', 'definition', 'start']);
    const sum = result.steps.reduce((total, { milliseconds }) => total + milliseconds, 0);
    expect(sum).toBeLessThanOrEqual(result.totalMs);
    expect(result.imageCache).toBe('fetched');
    expect((await node.launch(request({ uuid: OTHER }))).imageCache).toBe('hit');
  });

  it('logs the claim with what is asked, total, used and limit, and every step', async () => {
    const { logger, lines } = recordingLogger();
    const node = await makeBench().open({ logger });
    await node.launch(request());
    const steps = lines.filter(({ fields }) => fields?.['step'] !== undefined);
    expect(steps.map(({ level, fields }) => [level, fields?.['step']])).toEqual([
      ['info', 'claim'],
      ['info', 'image'],
      ['info', 'definition'],
      ['info', 'start'],
    ]);
    expect(steps[0]?.fields?.['claim']).toMatchObject({
      vcpus: { asked: 1, total: 8, used: 0, limit: 32 },
      memoryMb: { asked: 512, total: 16_384, used: 0, limit: 15_872 },
      diskGb: { asked: 1, total: 100, used: 0, limit: 100 },
    });
    expect(steps[0]?.message).toMatch(/memory 512 MB \(used 0 of 15872 MB\)/);
  });

  it('tells steps and launch by events, between those of the driver', async () => {
    const node = await makeBench().open();
    const seen = collect(node);
    await node.launch(request());
    await vi.waitFor(() => expect(seen.some(({ type }) => type === 'launched')).toBe(true));
    expect(seen.flatMap((event) => (event.type === 'step' ? [event.step] : []))).toEqual([
      'claim',
      'image',
      'definition',
      'start',
    ]);
    expect(seen.some((event) => event.type === 'lifecycle' && event.event === 'started')).toBe(true);
    await node.terminate(UUID);
    await vi.waitFor(() => expect(seen.at(-1)).toMatchObject({ type: 'terminated', uuid: UUID }));
  });

  it('refuses at once what the host has no room for, says so in the log, and changes nothing', async () => {
    const { logger, lines } = recordingLogger();
    const bench = makeBench();
    const node = await bench.open({ logger });
    const flavor = { vcpus: 1, memoryMb: 16_000, rootGb: 1 };
    await expect(node.launch(request({ flavor }))).rejects.toMatchObject({
      code: 'CLAIM_REFUSED',
      instanceUuid: UUID,
      details: { refused: [expect.objectContaining({ resource: 'memoryMb', asked: 16_000, limit: 15_872 })] },
    });
    expect(lines.some(({ message }) => /claim refused.*memory/.test(message))).toBe(true);
    expect(bench.left()).toEqual([]);
    expect(await node.list()).toEqual([]);
  });

  it.each([
    [{ minDiskGb: 2 }, 'FLAVOR_DISK_TOO_SMALL'],
    [{ minRamMb: 513 }, 'FLAVOR_MEMORY_TOO_SMALL'],
  ])('refuses a flavor that the image does not fit in: %j', async (limits, code) => {
    const bench = makeBench();
    const node = await bench.open();
    const image = { ...request().image, ...limits };
    await expect(node.launch(request({ image }))).rejects.toMatchObject({ code });
    expect(bench.left()).toEqual([]);
    expect((await node.report()).vcpus.used).toBe(0);
  });

  it('refuses a second launch of a uuid, during and after the first', async () => {
    const node = await makeBench().open();
    const first = node.launch(request());
    await expect(node.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    await first;
    await expect(node.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    expect((await node.report()).vcpus.used).toBe(1);
  });

  it('never claims more than there is, however many ask at once', async () => {
    const node = await makeBench().open({ allocationRatios: { cpu: 1 } });
    const launches = Array.from({ length: 20 }, (_, i) =>
      node.launch(request({ uuid: `${String(i).padStart(8, '0')}-2222-4333-8444-555555555555` })),
    );
    const outcomes = await Promise.allSettled(launches);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(8);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'CLAIM_REFUSED' });
    }
    const { vcpus, runningInstances } = await node.report();
    expect([vcpus.used, runningInstances]).toEqual([8, 8]);
  });

  it('keeps to maxConcurrentLaunches', async () => {
    const bench = makeBench();
    const node = await bench.open({ maxConcurrentLaunches: 3 });
    let most = 0;
    let now = 0;
    const onProgress = (): void => undefined;
    const launches = Array.from({ length: 9 }, async (_, i) => {
      const uuid = `${String(i).padStart(8, '0')}-2222-4333-8444-555555555555`;
      await node.launch(request({ uuid }), { onProgress });
    });
    for await (const event of node.events()) {
      if (event.type === 'lifecycle' && event.event === 'defined') now += 1;
      if (event.type === 'launched') now -= 1;
      most = Math.max(most, now);
      if (event.type === 'launched' && (await node.list()).every(({ task }) => task === undefined)) break;
    }
    await Promise.all(launches);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(3);
  });

  it('passes progress on, and survives a listener that throws', async () => {
    const node = await makeBench().open();
    const steps = new Set<string>();
    await node.launch(request(), {
      onProgress: ({ step }) => {
        steps.add(step);
        throw new Error('a bug of the embedder');
      },
    });
    expect([...steps]).toEqual(['image']);
  });

  it('refuses a port that another instance has', async () => {
    const node = await makeBench().open();
    const networks = [{ portId: OTHER }];
    await node.launch(request({ networks }));
    await expect(node.launch(request({ uuid: OTHER, networks }))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { problems: [{ path: 'networks.0.portId', message: 'the port is in use' }] },
    });
  });

  it('of one that stands, with its own ports, is told that it stands', async () => {
    const node = await makeBench().open();
    const asked = request({ networks: [{ portId: OTHER, mac: '52:54:00:00:00:07' }] });
    await node.launch(asked);
    await expect(node.launch(asked)).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
  });
});

describe('migrate with a driver that can', () => {
  class Movable extends FakeDriver {
    override liveMigration = async (instance: { readonly uuid: string }): Promise<void> => {
      this.hypervisor.undefine(instance.uuid);
      this.hypervisor.removeDisk(instance.uuid);
    };
  }
  registerDriver('test.Movable', (options) => new Movable(options as object));

  it('takes record and claim away with it', async () => {
    const bench = makeBench();
    const driverOptions = { hypervisor: bench.hypervisor };
    const node = await bench.open({ driver: 'test.Movable', driverOptions });
    await node.launch(request());
    await node.migrate(UUID, 'elsewhere');
    expect(await node.list()).toEqual([]);
    const { vcpus, memoryMb, diskGb } = await node.report();
    expect([vcpus.used, memoryMb.used, diskGb.used]).toEqual([0, 0, 0]);
    expect(readdirSync(join(bench.path, 'journal'))).toEqual([]);
  });
});

describe('a node and its instances path', () => {
  it('refuses a second node and names the first', async () => {
    const bench = makeBench();
    const node = await bench.open();
    const error = await bench.open().catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'HOST_LOCKED',
      details: { instancesPath: bench.path, holder: { pid: process.pid, since: expect.any(String) } },
    });
    expect((error as Error).message).toContain(`process ${process.pid}`);
    await node.close();
    await (await bench.open()).close();
  });

  it('names nobody where the holder has not written who it is', async () => {
    const bench = makeBench();
    await bench.open();
    writeFileSync(join(bench.path, 'locks', 'host.json'), '');
    await expect(bench.open()).rejects.toMatchObject({
      code: 'HOST_LOCKED',
      message: expect.stringContaining('only just started'),
    });
  });

  it('lets go of the path when its start fails', async () => {
    const bench = makeBench();
    bench.faults.add({ at: 'initHost', fail: new ComputeError('CONNECTION_FAILED', 'planted') });
    await expect(bench.open()).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
    await expect(bench.open({ driver: 'fake.Unheard' })).rejects.toMatchObject({ code: 'DRIVER_UNKNOWN' });
    await bench.open();
  });

  it.each([
    { instancesPath: 'relative' },
    { instancesPath: '/tmp/\0' },
    { maxConcurrentLaunches: 0 },
    { logger: {} as Logger },
    { allocationRatios: { cpu: -1 } },
    { nonsense: true } as object,
  ])('refuses options that cannot be meant: %j', async (options) => {
    await expect(makeBench().open(options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('makes its directories passable, not listable, and its files private', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    const mode = (...names: string[]) => statSync(join(bench.path, ...names)).mode & 0o777;
    expect([mode('journal'), mode('locks'), mode(UUID)]).toEqual([0o711, 0o711, 0o711]);
    expect([mode('journal', UUID), mode('locks', 'host.json'), mode('sequence')]).toEqual([
      0o600, 0o600, 0o600,
    ]);
  });

  it('gives the driver its path and logger, and keeps the image location out of the log', async () => {
    const { logger, lines } = recordingLogger();
    const bench = makeBench();
    const node = await bench.open({ logger });
    const source = { type: 'http', url: 'http://images.invalid/image?token=sesame' } as const;
    await node.launch(request({ image: { ...request().image, source } }));
    await node.terminate(UUID);
    expect(JSON.stringify(lines)).not.toContain('sesame');
    expect(existsSync(join(bench.path, UUID))).toBe(false);
  });

  it('journals a line before each step', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    const lines = readFileSync(join(bench.path, 'journal', UUID), 'utf8')
      .trimEnd()
      .split('\n');
    const events = lines.map((line): unknown => {
      const { event, step } = JSON.parse(line) as { event: string; step?: string };
      return step ?? event;
    });
    expect(events).toEqual(['launch', 'image', 'definition', 'network', 'start', 'launched']);
  });
});

describe('close', () => {
  it('is idempotent, ends the events and refuses what comes later; the instances run on', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    const events = node.events();
    await Promise.all([node.close(), node.close()]);
    await node[Symbol.asyncDispose]();
    expect((await events.next()).done).toBe(true);
    for (const call of [
      node.launch(request()),
      node.list(),
      node.start(UUID),
      node.terminate(UUID),
      node.report(),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'CLOSED' });
    }
    expect(bench.hypervisor.domains.get(UUID)?.state).toBe('running');
  });

  it('finishes a termination and cuts short the rest', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    await node.launch(request({ uuid: OTHER }));
    bench.faults.add({ at: 'destroy', delayMs: 40 });
    bench.faults.add({ at: 'reboot', hang: 'abortable' });
    const reboot = node.reboot(OTHER, 'hard').catch((error: unknown) => error);
    const terminate = node.terminate(UUID);
    await bench.faults.reached('destroy');
    await bench.faults.reached('reboot');
    await node.close();
    await terminate;
    expect(await reboot).toMatchObject({ code: 'CLOSED' });
    expect([...bench.hypervisor.domains.keys()]).toEqual([OTHER]);
  });

  it('keeps no timer and no handle that would keep the process alive', async () => {
    const bench = makeBench();
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    const node = await bench.open();
    await node.launch(request());
    await node.terminate(UUID);
    // Timers of the test runner itself may have run out meanwhile.
    expect(timers()).toBeLessThanOrEqual(before);
    await node.close();
  });
});

describe('report', () => {
  it('sets the claims beside what the host counts', async () => {
    const bench = makeBench();
    const node = await bench.open({ allocationRatios: { cpu: 2 }, reserved: { vcpus: 1 } });
    await node.launch(request());
    expect(await node.report()).toMatchObject({
      hypervisorType: 'fake',
      vcpus: { total: 8, reserved: 1, allocationRatio: 2, limit: 14, used: 1 },
      memoryMb: { total: 16_384, reserved: 512, used: 512 },
      diskGb: { total: 100, used: 1 },
      memoryMbUsedByHost: 512,
      instances: 1,
      runningInstances: 1,
    });
  });
});

it('opens under await using', async () => {
  const bench = makeBench();
  {
    await using node = await bench.open();
    await node.launch(request());
  }
  await using again = await bench.open();
  expect(again).toBeInstanceOf(ComputeNode);
  expect(again.capabilities.pause).toBe(true);
});
