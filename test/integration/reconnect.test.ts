// A libvirtd that is killed, restarted, stopped and continued under a driver and a node: what is told, and that nothing stays behind.
import { readdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import type { SpawnStep } from '../../src/driver/compute-driver.js';
import { ComputeError } from '../../src/driver/errors.js';
import type { DriverEvent, Instance } from '../../src/driver/model.js';
import { ComputeNode } from '../../src/index.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { native } from '../../src/native.js';
import { GuestConsole } from '../support/guest-console.js';
import { eventually, GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';

const host = new TestHost();
let daemon: PrivateLibvirtd;

beforeAll(async () => {
  daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
}, 120_000);

afterAll(() => {
  daemon.stop();
  host.dispose();
});

describe('a driver whose libvirtd goes away', () => {
  let driver: LibvirtDriver;
  let seen: DriverEvent[];
  let instance: Instance;

  beforeEach(async () => {
    driver = new LibvirtDriver({ instancesPath: host.instancesPath, uri: daemon.uri, keepAliveSeconds: 1 });
    await driver.initHost();
    const events: DriverEvent[] = [];
    seen = events;
    void (async () => {
      for await (const event of driver.events()) events.push(event);
    })();
    instance = host.instance();
    await driver.spawn(instance);
    await host.booted(instance.uuid);
  }, 120_000);

  afterEach(async () => {
    await driver.destroy(instance);
    expect(host.leftovers(instance)).toEqual([]);
    await driver.close();
  }, 60_000);

  const resynced = (from = 0): Promise<Extract<DriverEvent, { type: 'resynced' }>> =>
    eventually('the comparison', 60_000, () =>
      seen.slice(from).find((event) => event.type === 'resynced'),
    ) as Promise<Extract<DriverEvent, { type: 'resynced' }>>;

  const told = (): string[] =>
    seen.flatMap((event) =>
      event.type === 'lifecycle' && event.uuid === instance.uuid && event.resync
        ? [`${event.event} ${event.detail}`]
        : [],
    );

  it('connects again while idle, and has nothing to tell; new events come', async () => {
    daemon.kill();
    const { changes } = await resynced();
    expect(changes).toEqual([]);
    expect(seen.filter(({ type }) => type === 'connection')).toMatchObject([
      { state: 'down' },
      { state: 'up' },
    ]);
    await driver.pause(instance.uuid);
    await eventually('the event of the pause', 10_000, () =>
      seen.some((event) => event.type === 'lifecycle' && event.event === 'suspended' && !event.resync),
    );
    await driver.unpause(instance.uuid);
  }, 90_000);

  it('ends calls in flight by a retryable error, in time, and later ones succeed', async () => {
    const calls = Array.from({ length: 50 }, () =>
      driver.getInfo(instance.uuid).then(
        () => 'answered',
        (error: unknown) => (ComputeError.is(error) ? `${error.code} ${error.retryable}` : String(error)),
      ),
    );
    daemon.kill();
    const outcomes = new Set(await Promise.all(calls));
    outcomes.delete('answered');
    expect([...outcomes]).toEqual(outcomes.size === 0 ? [] : ['CONNECTION_LOST true']);
    await resynced();
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('running');
  }, 90_000);

  it('tells of a guest that was killed meanwhile', async () => {
    const { pid } = daemon;
    if (pid === undefined) throw new Error('there is no daemon');
    // Stopped first: it must not see the end of QEMU before its own.
    process.kill(pid, 'SIGSTOP');
    for (const qemu of qemuProcesses(instance.uuid)) process.kill(qemu, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    await resynced();
    await eventually('the stop', 20_000, () =>
      seen.some((event) => event.type === 'lifecycle' && event.event === 'stopped'),
    );
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('shutdown');
    await driver.powerOn(instance);
  }, 90_000);

  it('tells of a guest that shut itself down meanwhile', async () => {
    const { pid } = daemon;
    if (pid === undefined) throw new Error('there is no daemon');
    const console = await GuestConsole.open(driver, host, instance);
    await console.type('echo going $((1 + 1)); sleep 1; poweroff -f', /going 2/);
    console.close();
    process.kill(pid, 'SIGSTOP');
    // An emulated guest takes its time.
    await new Promise((resolve) => setTimeout(resolve, 8000));
    process.kill(pid, 'SIGKILL');
    await resynced();
    const stop = await eventually('the stop', 20_000, () =>
      seen.find((event) => event.type === 'lifecycle' && event.event === 'stopped'),
    );
    expect(stop).toMatchObject({ detail: 'shutdown' });
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('shutdown');
  }, 120_000);

  it('tells of what other tools did meanwhile', async () => {
    const { pid } = daemon;
    if (pid === undefined) throw new Error('there is no daemon');
    // Nobody tells this driver, as its connection is cut; virsh has another one.
    const mark = seen.length;
    daemon.kill();
    await eventually('another daemon', 30_000, () => daemon.pid !== undefined && daemon.pid !== pid);
    await eventually('virsh to be quicker or not', 30_000, () => {
      try {
        daemon.virsh('suspend', instance.name);
        return true;
      } catch {
        return false;
      }
    });
    await resynced(mark);
    await eventually('the pause', 10_000, () =>
      seen.slice(mark).some((event) => event.type === 'lifecycle' && event.event === 'suspended'),
    );
    expect(told().every((line) => line === 'suspended paused')).toBe(true);
    await driver.unpause(instance.uuid);
  }, 90_000);

  it('gives up one that hangs, in time, and finds it again when it goes on', async () => {
    const { pid } = daemon;
    if (pid === undefined) throw new Error('there is no daemon');
    process.kill(pid, 'SIGSTOP');
    const begin = performance.now();
    try {
      const limited = await driver
        .getInfo(instance.uuid, { timeoutMs: 500 })
        .catch((error: unknown) => error);
      expect(limited).toMatchObject({ code: 'TIMEOUT', retryable: true });
      const cut = await driver.getInfo(instance.uuid).catch((error: unknown) => error);
      expect(cut).toMatchObject({ code: 'CONNECTION_LOST', retryable: true });
      // Four questions of a second each; the rest is the machine's.
      expect(performance.now() - begin).toBeLessThan(30_000);
      await eventually('the loss', 30_000, () =>
        seen.some((event) => event.type === 'connection' && event.state === 'down'),
      );
      await expect(driver.getInfo(instance.uuid)).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await resynced();
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('running');
  }, 120_000);
});

describe('a launch during which libvirtd is killed', () => {
  /**
   * Within a start once QEMU is there: a libvirtd 9.0 that is killed before it knows its process takes the domain for one
   * that starts, for ever.
   */
  const killDuring = async (step: SpawnStep, uuid: string): Promise<void> => {
    if (step === 'start') {
      await eventually('QEMU', 30_000, () => qemuProcesses(uuid).length > 0);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    daemon.kill();
  };

  it('ends by a retryable error and leaves nothing, in each step', async () => {
    await using driver = new LibvirtDriver({ instancesPath: host.instancesPath, uri: daemon.uri });
    await driver.initHost();
    for (const step of ['definition', 'network', 'start'] as const) {
      const instance = host.instance();
      const outcome = await driver
        .spawn(instance, {
          onStep: (at) => {
            if (at === step) void killDuring(step, instance.uuid);
          },
        })
        .then(
          () => 'runs',
          (error: unknown) => error,
        );
      if (outcome !== 'runs') expect(outcome).toMatchObject({ code: 'CONNECTION_LOST', retryable: true });
      else await driver.destroy(instance);
      expect(host.leftovers(instance)).toEqual([]);
      await eventually('the connection', 30_000, () =>
        driver.listInstances().then(
          (list) => list.length === 0,
          () => false,
        ),
      );
    }
  }, 180_000);
});

describe('a node over twenty restarts of libvirtd', () => {
  it('reports again each time, its instance runs, and no descriptor or thread is left', async () => {
    await using node = await ComputeNode.open({
      instancesPath: host.instancesPath,
      driverOptions: { uri: daemon.uri },
    });
    const { instance } = await node.launch({
      name: 'guest',
      flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
      image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    });
    let resyncs = 0;
    void (async () => {
      for await (const event of node.events()) if (event.type === 'resynced') resyncs += 1;
    })();
    const descriptors = (): number => readdirSync('/proc/self/fd').length;
    // Those of the lanes start as there is work, up to their number, and stay.
    const lanes = (): number =>
      native()
        .executorStatistics()
        .reduce((sum, { threads }) => sum + threads, 0);
    const threads = (): number => readdirSync('/proc/self/task').length - lanes();
    let before: { descriptors: number; threads: number } | undefined;
    for (let round = 1; round <= 20; round += 1) {
      const running = node.report().catch((error: unknown) => error);
      daemon.kill();
      const outcome = await running;
      if (ComputeError.is(outcome)) expect(outcome).toMatchObject({ retryable: true });
      await eventually('the comparison', 60_000, () => resyncs === round);
      expect((await node.report()).runningInstances).toBe(1);
      expect((await node.get(instance.uuid)).powerState).toBe('running');
      // The first rounds start what there is of threads.
      if (round === 5) before = { descriptors: descriptors(), threads: threads() };
    }
    // A lost connection goes with the last handle of a domain that was found by it, which the collector takes.
    await eventually('what is let go', 10_000, () => {
      globalThis.gc?.();
      return descriptors() <= (before?.descriptors ?? 0);
    });
    expect(threads()).toBeLessThanOrEqual(before?.threads ?? 0);
    expect(
      native()
        .executorStatistics()
        .every(({ queued, running }) => queued + running === 0),
    ).toBe(true);
    await node.terminate(instance.uuid);
  }, 300_000);
});
