// What becomes of a volume where a part of its way fails, is away, or sees the agent die: it is attached, or nothing of it is left.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type ComputeAgent, ComputeError } from '../../src/index.js';
import { type FakeVolume, REQUESTS } from '../agent/fake-cinder.js';
import { faultServices } from '../agent/fault-bench.js';
import { HOST, type Sent, UUID, WAIT } from '../agent/sent.js';
import { VolumeBench } from '../agent/volume-bench.js';

const services = faultServices();
let bench: VolumeBench;

beforeEach(async () => {
  bench = await VolumeBench.open(services());
});
const { show, connect, complete, disconnect, roll } = REQUESTS;

async function failed(volume: FakeVolume, expected: string): Promise<void> {
  const failure = await bench.done(await bench.attaching(volume));
  expect(failure).toContain(expected);
  expect(bench.here.faultsTold).toEqual([failure]);
  expect(bench.here.states()).toEqual(['active', null, HOST]);
}

describe('an attachment that fails', () => {
  it.each([show, connect, complete])('at %s leaves nothing', async (at) => {
    await bench.ready();
    const volume = bench.cinder.volume();
    bench.cinder.mishaps.push({ at, mishap: 'refused' });
    await failed(volume, 'planted');
    bench.expectGone(volume);
  });

  it.each([show, connect])('at %s, with an answer that is none, leaves nothing', async (at) => {
    await bench.ready();
    const volume = bench.cinder.volume();
    bench.cinder.mishaps.push({ at, mishap: 'nonsense' });
    await failed(volume, 'its answer is none');
    bench.expectGone(volume);
  });

  it('in the guest leaves nothing', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    bench.here.faults.add({ at: 'attachVolume', fail: new ComputeError('HYPERVISOR', 'no such luck') });
    await failed(volume, 'no such luck');
    bench.expectGone(volume);
  });

  it('as Cinder gives it for a disk that the guest has leaves that one alone', async () => {
    await bench.ready();
    const first = bench.cinder.volume();
    await bench.attached(first);
    const second = bench.cinder.volume({ connection: first.connection });
    await failed(second, 'by another name');
    bench.expectAttached(first);
    expect(bench.attachmentsOf(second)).toEqual([]);
    expect(bench.mapping(second)).toBeUndefined();
  });

  it('as the hypervisor is away leaves nothing', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    const fail = new ComputeError('CONNECTION_LOST', 'libvirtd is away', { retryable: true });
    const { faults } = bench.here;
    faults.add({ at: 'attachVolume', fail });
    // The guest may have it by then, whatever the node was told.
    faults.add({ at: 'detachVolume', fail, times: 2 });
    faults.add({ at: 'detachVolume', delayMs: 1, nth: 3 });
    const asked = faults.reached('detachVolume');
    expect(await bench.done(sent)).toBe('libvirtd is away');
    await asked;
    bench.expectGone(volume);
  });

  it('as the hypervisor does not come back keeps what Cinder and Nova know of it', async () => {
    bench.here.outageTimeoutMs = 0;
    await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    const fail = new ComputeError('CONNECTION_LOST', 'libvirtd is away', { retryable: true });
    bench.here.faults.add({ at: 'attachVolume', fail });
    bench.here.faults.add({ at: 'detachVolume', fail, times: 1000 });
    expect(await bench.done(sent)).toBe('libvirtd is away');
    expect(bench.mapping(volume)).toBeDefined();
    expect(bench.attachmentsOf(volume)).toHaveLength(1);
  });

  it('at Nova leaves nothing', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    let isRefused = false;
    bench.here.conductor.refuses = (object, method) => {
      const isSave = object === 'BlockDeviceMapping' && method === 'save' && !isRefused;
      isRefused ||= isSave;
      return isSave;
    };
    await failed(volume, 'DBError');
    bench.expectGone(volume);
  });

  it('and that the guest keeps stays reserved for it, and can be detached', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    bench.cinder.mishaps.push({ at: complete, mishap: 'refused' });
    bench.here.faults.add({ at: 'detachVolume', fail: new ComputeError('DETACH_FAILED', 'it keeps it') });
    await failed(volume, 'planted');
    expect(bench.disks).toEqual([volume.id]);
    expect(bench.attachmentsOf(volume)).toHaveLength(1);
    expect(bench.mapping(volume)).toBeDefined();
    expect(bench.here.lines).toContainEqual(expect.stringContaining('stays at'));
    expect(await bench.done(bench.detaching(volume))).toBeUndefined();
    bench.expectGone(volume);
  });

  it.each([
    ['a kind that this host has not', { driver_volume_type: 'iscsi', target_iqn: 'iqn.x' }, 'iscsi'],
    [
      'one that is encrypted',
      { driver_volume_type: 'local', device_path: '/dev/x', encrypted: true },
      'encrypted',
    ],
    ['a path that is no device', { driver_volume_type: 'local', device_path: '/etc/shadow' }, 'below /dev'],
    ['what is none', { driver_volume_type: 'rbd', name: 'x' }, 'its connection is none'],
  ])('as it is %s leaves nothing', async (_what, connection, expected) => {
    await bench.ready();
    const volume = bench.cinder.volume({ connection });
    await failed(volume, expected);
    bench.expectGone(volume);
    expect(bench.cinder.seen).not.toContain(complete);
  });
});

describe('a detachment that fails', () => {
  it('in the guest leaves the volume in use', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    bench.here.faults.add({ at: 'detachVolume', fail: new ComputeError('DETACH_FAILED', 'it keeps it') });
    bench.cinder.mishaps.push({ at: roll, mishap: 'away' }, { at: roll, mishap: 'answer-lost' });
    expect(await bench.done(bench.detaching(volume))).toBe('it keeps it');
    expect(bench.here.faultsTold).toEqual(['it keeps it']);
    bench.expectAttached(volume);
  });

  it('as the hypervisor is away is made again when it is back', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    const fail = new ComputeError('CONNECTION_LOST', 'libvirtd is away', { retryable: true });
    bench.here.faults.add({ at: 'detachVolume', fail, times: 2 });
    expect(await bench.done(bench.detaching(volume))).toBeUndefined();
    bench.expectGone(volume);
  });

  it('at Cinder can be asked for again', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    bench.cinder.mishaps.push({ at: disconnect, mishap: 'refused' });
    expect(await bench.done(bench.detaching(volume))).toContain('planted');
    expect(volume.status).toBe('in-use');
    expect(bench.mapping(volume)).toBeDefined();
    expect(await bench.done(bench.detaching(volume))).toBeUndefined();
    bench.expectGone(volume);
  });
});

it('a Cinder that is away, or whose answers are lost, is waited for', async () => {
  await bench.ready();
  const volume = bench.cinder.volume();
  const { mishaps } = bench.cinder;
  for (const at of [show, connect, complete, disconnect]) {
    mishaps.push({ at, mishap: 'away' }, { at, mishap: 'answer-lost' });
  }
  await bench.attached(volume);
  expect(await bench.done(bench.detaching(volume))).toBeUndefined();
  bench.expectGone(volume);
  expect(mishaps).toEqual([]);
  expect(bench.here.faultsTold).toEqual([]);
});

/** It dies when the point is reached; the next agent finds what it has left. */
async function dies(dying: ComputeAgent, sent: Sent, isReached: () => unknown): Promise<void> {
  await bench.here.cast(sent);
  await vi.waitFor(() => expect(isReached()).toBeTruthy(), WAIT);
  await dying.close({ graceMs: 0 });
  expect(bench.here.journaled('commands')).toBe(1);
  await bench.agent();
}

describe.each(['hangs-before', 'hangs'] as const)('an agent that dies while Cinder %s', (mishap) => {
  const seen = (at: string, count: number) => () =>
    bench.cinder.seen.filter((one) => one === at).length > count;

  it.each([show, connect, complete])('at %s goes on with the attachment', async (at) => {
    const agent = await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    bench.cinder.mishaps.push({ at, mishap });
    await dies(agent, sent, seen(at, 0));
    expect(await bench.ended(sent)).toBeUndefined();
    bench.expectAttached(volume);
    expect(await bench.done(bench.detaching(volume))).toBeUndefined();
    bench.expectGone(volume);
    expect(bench.here.faultsTold).toEqual([]);
  });

  it('goes on with the detachment', async () => {
    const agent = await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    const sent = bench.detaching(volume);
    bench.cinder.mishaps.push({ at: disconnect, mishap });
    await dies(agent, sent, seen(disconnect, 0));
    expect(await bench.ended(sent)).toBeUndefined();
    bench.expectGone(volume);
  });

  it('goes on with the deletion of the server', async () => {
    const agent = await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume, { delete_on_termination: true });
    bench.here.conductor.instance(UUID).set('task_state', 'deleting');
    bench.cinder.mishaps.push({ at: disconnect, mishap });
    const sent: Sent = { method: 'terminate_instance', args: { instance: bench.instance, bdms: [] } };
    await dies(agent, sent, seen(disconnect, 0));
    await vi.waitFor(() => expect(bench.here.conductor.instances.has(UUID)).toBe(false), WAIT);
    expect([...bench.cinder.volumes.values(), ...bench.cinder.attachments.values()]).toEqual([]);
  });

  it('takes back what it was taking back', async () => {
    const agent = await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    const fail = new ComputeError('HYPERVISOR', 'no such luck');
    bench.here.faults.add({ at: 'attachVolume', fail, times: 2 });
    bench.cinder.mishaps.push({ at: disconnect, mishap });
    await dies(agent, sent, seen(disconnect, 0));
    expect(await bench.ended(sent)).toBeTruthy();
    bench.expectGone(volume);
    expect(bench.here.faultsTold).toHaveLength(1);
  });
});

it('an agent that dies while the guest is given the volume goes on with it', async () => {
  const agent = await bench.ready();
  const volume = bench.cinder.volume();
  const sent = await bench.attaching(volume);
  const { faults } = bench.here;
  faults.add({ at: 'attachVolume', hang: 'abortable' });
  let isReached = false;
  void faults.reached('attachVolume').then(() => {
    isReached = true;
  });
  await dies(agent, sent, () => isReached);
  expect(await bench.ended(sent)).toBeUndefined();
  bench.expectAttached(volume);
});

describe('a command that ended three processes', () => {
  it('leaves nothing of the volume that it attached', async () => {
    const first = await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    await first.close();
    await bench.here.leave(sent, 3);
    await bench.agent();
    expect(await bench.ended(sent)).toContain('is not tried again');
    bench.expectGone(volume);
    expect(bench.here.faultsTold).toHaveLength(1);
  });

  it('leaves the volume in use that it detached', async () => {
    const first = await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    await first.close();
    const sent = bench.detaching(volume);
    await bench.here.leave(sent, 3);
    await bench.agent();
    expect(await bench.ended(sent)).toContain('is not tried again');
    bench.expectAttached(volume);
    expect(bench.here.faultsTold).toHaveLength(1);
  });
});
