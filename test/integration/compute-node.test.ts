// ComputeNode on the embedded driver, as an agent uses it: launch, look, stop, start, reboot, terminate, with real guests.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ComputeError, ComputeNode, type LaunchRequest, type NodeEvent } from '../../src/index.js';
import { eventually, GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';

const host = new TestHost();
let node: ComputeNode;
const events: NodeEvent[] = [];

beforeAll(async () => {
  node = await ComputeNode.open({ instancesPath: host.instancesPath, driverOptions: { root: host.root } });
  void (async () => {
    for await (const event of node.events()) events.push(event);
  })();
});

afterAll(async () => {
  await node.close();
  host.dispose();
});

function request(more: Partial<LaunchRequest> = {}): LaunchRequest {
  return {
    uuid: randomUUID(),
    name: 'guest',
    flavor: { vcpus: 2, memoryMb: 160, rootGb: 2 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    networks: [{ bridge: host.bridge, mac: 'fa:16:3e:12:34:56' }],
    ...more,
  };
}

describe('a launched instance', () => {
  const uuid = randomUUID();

  it('has what its flavor says, by the word of the guest', async () => {
    const result = await node.launch(request({ uuid }));
    expect(result.steps.map(({ step }) => step)).toEqual(['claim', 'image', 'definition', 'start']);
    expect(result.imageCache).toBe('fetched');
    const guest = await host.booted(uuid);
    expect(guest).toMatchObject({
      name: result.instance.name,
      uuid,
      rootDiskBytes: 2 * 1024 ** 3,
      macs: ['fa:16:3e:12:34:56'],
      vcpus: 2,
    });
    expect(guest.memoryMb).toBeGreaterThan(100);
    expect(guest.memoryMb).toBeLessThanOrEqual(160);
  });

  it('runs as the unprivileged user, in a sandbox, with files that only it may read', async () => {
    const [pid] = qemuProcesses(uuid);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(/^Uid:\s+(\d+)/m.exec(status)?.[1]).not.toBe('0');
    expect(/^Seccomp:\s+(\d)/m.exec(status)?.[1]).toBe('2');
    expect(/^NoNewPrivs:\s+(\d)/m.exec(status)?.[1]).toBe('1');

    const mode = (name: string): number => statSync(`${host.instancesPath}/${uuid}/${name}`).mode & 0o777;
    expect(mode('disk')).toBe(0o600);
    expect(mode('libvirt.xml')).toBe(0o600);
    expect(mode('console.log')).toBe(0o600);
    expect(mode('')).toBe(0o711);
    // The base belongs to every instance: QEMU's user may read it and must not own it.
    const base = statSync(`${host.instancesPath}/${uuid}/disk.base`);
    expect([base.uid, base.mode & 0o777]).toEqual([0, 0o644]);
  });

  it('keeps its disk over stop, start and both kinds of reboot', async () => {
    await node.shutdown(uuid);
    expect((await node.get(uuid)).powerState).toBe('shutdown');
    expect(qemuProcesses(uuid)).toEqual([]);
    await node.start(uuid);
    await bootedTimes(uuid, 2);
    await node.reboot(uuid, 'soft');
    await bootedTimes(uuid, 3);
    await node.reboot(uuid, 'hard');
    await bootedTimes(uuid, 4);
  });

  it('is gone after terminate, and terminate is idempotent', async () => {
    await node.terminate(uuid);
    await node.terminate(uuid);
    expect(qemuProcesses(uuid)).toEqual([]);
    expect(host.remains()).toEqual([]);
    expect(events.filter((event) => event.type === 'launched' && event.uuid === uuid)).toHaveLength(1);
    await expect(node.get(uuid)).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
  });
});

describe('two launches of one image at once', () => {
  it('fetch it once', async () => {
    const image = { ...request().image, id: `twice-${randomUUID()}` };
    const results = await Promise.all([
      node.launch(request({ image, networks: [] })),
      node.launch(request({ image, networks: [] })),
    ]);
    expect(results.map(({ imageCache }) => imageCache).sort()).toEqual(['fetched', 'joined']);
    await Promise.all(results.map(({ instance }) => node.terminate(instance.uuid)));
    expect(host.remains()).toEqual([]);
  });
});

describe('a launch that fails', () => {
  it('of a flavor that the host has no room for says what was asked, used and the limit', async () => {
    const error = await node
      .launch(request({ flavor: { vcpus: 1, memoryMb: 1 << 20 } }))
      .catch((e: unknown) => e);
    expect(ComputeError.is(error) && error.code).toBe('CLAIM_REFUSED');
    expect(host.remains()).toEqual([]);
  });

  it('at the start of QEMU leaves nothing and tells why', async () => {
    const failing = request({
      image: { ...request().image, properties: { hw_machine_type: 'pc-i440fx-99.9' } },
    });
    const error = await node.launch(failing).catch((e: unknown) => e);
    expect(ComputeError.is(error) && error.message).toMatch(/pc-i440fx-99.9/);
    expect(host.remains()).toEqual([]);
    expect((await node.report()).memoryMb.used).toBe(0);
  });

  it('on a hostile image leaves nothing and tells the rule', async () => {
    const path = `${host.directory}/hostile.qcow2`;
    execFileSync('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-b',
      '/etc/shadow',
      '-F',
      'raw',
      '-u',
      path,
      '1G',
    ]);
    const image = { id: 'hostile', diskFormat: 'qcow2', source: { type: 'file', path } } as const;
    const error = await node.launch(request({ image })).catch((e: unknown) => e);
    expect(ComputeError.is(error) && error.code).toBe('IMAGE_UNACCEPTABLE');
    expect(host.remains()).toEqual([]);
  });

  it('because its caller aborts it leaves nothing, at whatever moment', async () => {
    for (const delayMs of [0, 1, 2, 5, 10, 20, 40, 60, 80]) {
      const controller = new AbortController();
      const one = request({ flavor: { vcpus: 1, memoryMb: 160, ephemeralGb: 1, swapMb: 16 } });
      const launch = node.launch(one, { signal: controller.signal });
      const timer = setTimeout(() => controller.abort(), delayMs);
      const outcome = await launch.then(
        () => 'launched',
        (error: unknown) => (ComputeError.is(error) ? error.code : String(error)),
      );
      clearTimeout(timer);
      expect(['launched', 'ABORTED']).toContain(outcome);
      await node.terminate(one.uuid ?? '');
      expect(qemuProcesses(one.uuid ?? '')).toEqual([]);
      expect(host.remains()).toEqual([]);
    }
    expect((await node.report()).memoryMb.used).toBe(0);
  });
});

describe('a QEMU that dies', () => {
  it('is told by an event and leaves an instance that can be started again', async () => {
    const one = request();
    const { instance } = await node.launch(one);
    const [pid] = qemuProcesses(instance.uuid);
    process.kill(pid ?? 0, 'SIGKILL');
    await eventually('the event', 10_000, () =>
      events.find(
        (event) => event.type === 'lifecycle' && event.uuid === instance.uuid && event.event === 'stopped',
      ),
    );
    expect((await node.get(instance.uuid)).powerState).toBe('shutdown');
    await node.start(instance.uuid);
    expect((await node.get(instance.uuid)).powerState).toBe('running');
    await node.terminate(instance.uuid);
    expect(host.remains()).toEqual([]);
  });
});

/** Each boot writes its line to the console once more. */
async function bootedTimes(uuid: string, times: number): Promise<void> {
  await eventually(`boot ${times} of ${uuid}`, 90_000, () => {
    const lines = host.consoleText(uuid).match(/"event":"BOOTED"/g);
    return (lines?.length ?? 0) >= times;
  });
}
