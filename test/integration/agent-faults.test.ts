// What becomes of a command when the hypervisor, the broker or the agent itself fails under it.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ComputeError } from '../../src/index.js';
import { FaultBench, faultServices } from '../agent/fault-bench.js';
import { BUILD, HOST, request, type Sent, UUID, WAIT } from '../agent/sent.js';

const services = faultServices();
let here: FaultBench;

beforeEach(async () => {
  here = await FaultBench.open(services());
});

const broken = (): ComputeError => new ComputeError('HYPERVISOR', 'libvirt has failed');
const lost = (): ComputeError => new ComputeError('CONNECTION_LOST', 'libvirtd is away', { retryable: true });

describe('a command that ended three processes', () => {
  it('a build ends in ERROR, and nothing of it is left', async () => {
    const first = await here.agent();
    await here.build(first);
    await first.close();
    const sent = request('boot-warm');
    const { conductor } = here;
    for (const [field, value] of Object.entries({ vm_state: 'building', task_state: 'spawning' })) {
      conductor.instance(UUID).set(field, value);
    }
    await here.leave(sent, 3);
    const next = await here.agent();
    expect(here.states()).toEqual(['error', null, null]);
    expect(here.faultsTold).toEqual([expect.stringContaining('is not tried again')]);
    expect(conductor.finished(BUILD)).toHaveLength(2);
    expect(await next.node.list()).toEqual([]);
    // A report under way may bring it back, and the next one takes it away.
    await vi.waitFor(async () => expect(await here.allocations()).toBe(0), WAIT);
    expect(conductor.rescheduled).toEqual([]);
    expect(here.journaled('set-aside')).toBe(1);
  });

  it('a deletion ends in ERROR, and nobody goes on with it until it is asked for again', async () => {
    const first = await here.agent();
    await here.build(first);
    await first.close();
    const sent = request('terminate');
    here.conductor.instance(UUID).set('task_state', 'deleting');
    await here.leave(sent, 3);
    const next = await here.agent();
    expect(here.states()).toEqual(['error', null, HOST]);
    expect(here.faultsTold).toHaveLength(1);
    expect((await next.node.get(UUID)).powerState).toBe('running');
    here.conductor.instance(UUID).set('task_state', 'deleting');
    await here.cast(sent);
    await vi.waitFor(() => expect(here.conductor.instances.has(UUID)).toBe(false), WAIT);
    expect(await next.node.list()).toEqual([]);
  });

  it('any other leaves a fault, no task, and the state of before', async () => {
    const first = await here.agent();
    await here.build(first);
    await first.close();
    here.conductor.instance(UUID).set('task_state', 'pausing');
    await here.leave(request('pause'), 3);
    const next = await here.agent();
    expect(here.states()).toEqual(['active', null, HOST]);
    expect(here.faultsTold).toHaveLength(1);
    expect(here.conductor.finished('compute_pause_instance')).toHaveLength(1);
    expect((await next.node.get(UUID)).powerState).toBe('running');
  });

  it('is only set aside where a fourth ended as it told of it', async () => {
    const first = await here.agent();
    await here.build(first);
    await first.close();
    here.conductor.instance(UUID).set('task_state', 'pausing');
    await here.leave(request('pause'), 4);
    await here.agent();
    expect(here.journaled('set-aside')).toBe(1);
    expect(here.states()).toEqual(['active', 'pausing', HOST]);
    expect(here.faultsTold).toEqual([]);
  });
});

describe('the task of a deletion', () => {
  const told = (event: string): unknown => here.conductor.finished(event).at(-1)?.failure;

  for (const task of ['deleting', 'soft-deleting']) {
    it(`${task} stays where a resize is confirmed for it, and where that fails`, async () => {
      const agent = await here.agent();
      await here.build(agent);
      await here.replay('resize', 'compute_prep_resize');
      const sent = request('confirm');
      sent.args.instance.set('task_state', task);
      here.store(sent.args.instance);
      here.faults.add({ at: 'confirmMigration', fail: broken() });
      await here.cast(sent);
      await here.ended('compute_confirm_resize');
      expect(told('compute_confirm_resize')).toContain('libvirt has failed');
      expect(here.states()).toEqual(['resized', task, HOST]);

      await here.cast(sent);
      await vi.waitFor(() => {
        expect(here.conductor.finished('compute_confirm_resize')).toHaveLength(2);
      }, WAIT);
      expect(told('compute_confirm_resize')).toBeUndefined();
      expect(here.states()).toEqual(['active', task, HOST]);
    });
  }

  it('stays where it comes while another command fails', async () => {
    const agent = await here.agent();
    await here.build(agent);
    const sent = request('resize');
    here.store(sent.args.instance);
    here.faults.add({ at: 'migrateDiskAndPowerOff', hang: 'deaf' });
    here.faults.add({ at: 'finishMigration', fail: lost() });
    await here.cast(sent);
    await here.faults.reached('migrateDiskAndPowerOff');
    here.conductor.instance(UUID).set('task_state', 'deleting');
    here.faults.release();
    await here.ended('compute_prep_resize');
    expect(told('compute_prep_resize')).toContain('libvirtd is away');
    expect(here.states()).toEqual(['active', 'deleting', HOST]);
  });

  it('goes with the command that it is of: a soft deletion that fails, or ended three processes', async () => {
    const first = await here.agent();
    await here.build(first);
    const softly = (): Sent => {
      here.conductor.instance(UUID).set('task_state', 'soft-deleting');
      return { method: 'soft_delete_instance', args: request('stop').args };
    };
    here.faults.add({ at: 'powerOff', fail: broken() });
    await here.cast(softly());
    await here.ended('compute_soft_delete_instance');
    expect(here.states()).toEqual(['active', null, HOST]);
    await first.close();
    await here.leave(softly(), 3);
    await here.agent();
    expect(here.states()).toEqual(['active', null, HOST]);
    expect(here.faultsTold).toHaveLength(2);
  });
});

describe('while the hypervisor is away', () => {
  it('a command waits, and is done once', async () => {
    await here.build(await here.agent());
    here.faults.add({ at: 'pause', fail: lost(), times: 2 });
    await here.replay('pause', 'compute_pause_instance');
    expect(here.states()).toEqual(['paused', null, HOST]);
    expect(here.faultsTold).toEqual([]);
    expect(here.hypervisor.domains.get(UUID)?.state).toBe('paused');
  });

  it('a build whose launch is lost half made waits, and is made anew', async () => {
    const agent = await here.agent();
    here.faults.add({ at: 'spawn.start.done', fail: lost() });
    for (const at of ['destroy', 'spawn.undo'] as const) here.faults.add({ at, fail: lost(), times: 2 });
    await here.build(agent);
    expect(here.faultsTold).toEqual([]);
    expect(here.hypervisor.domains.size).toBe(1);
    expect(here.conductor.finished(BUILD)[0]?.failure).toBeUndefined();
  });

  it('a deletion waits, and is done once', async () => {
    await here.build(await here.agent());
    here.faults.add({ at: 'destroy', fail: lost(), times: 2 });
    await here.replay('terminate', 'compute_terminate_instance');
    expect(here.conductor.instances.has(UUID)).toBe(false);
    expect(here.faultsTold).toEqual([]);
    expect(here.hypervisor.domains.size).toBe(0);
  });

  it('a command whose user has deleted the server meanwhile is not done again', async () => {
    await here.build(await here.agent());
    here.faults.add({ at: 'pause', fail: lost() });
    const sent = request('pause');
    here.store(sent.args.instance);
    await here.cast(sent);
    await vi.waitFor(() => expect(here.lines.join()).toContain('waits for a service'), WAIT);
    here.conductor.instance(UUID).set('task_state', 'deleting');
    await here.ended('compute_pause_instance');
    expect(here.hypervisor.domains.get(UUID)?.state).toBe('running');
  });

  it('a command that waits in vain leaves no task', async () => {
    here.outageTimeoutMs = 100;
    const agent = await here.agent();
    await here.build(agent);
    for (const at of ['pause', 'getInfo'] as const) here.faults.add({ at, fail: lost(), times: 1000 });
    await here.replay('pause', 'compute_pause_instance');
    here.faults.clear();
    expect(here.states()).toEqual(['active', null, HOST]);
    expect(here.faultsTold).toEqual(['libvirtd is away']);
  });

  it('a build that cannot be taken back is an ERROR of this host, which its deletion ends', async () => {
    here.outageTimeoutMs = 100;
    const agent = await here.agent();
    await here.allocate(agent);
    for (const at of ['spawn.start.done', 'destroy', 'spawn.undo'] as const) {
      here.faults.add({ at, fail: lost(), times: 1000 });
    }
    await here.replay('boot-warm', BUILD);
    here.faults.clear();
    expect(here.states()).toEqual(['error', null, HOST]);
    expect(here.faultsTold).toEqual([expect.stringContaining('libvirtd is away')]);
    expect(await here.allocations()).toBe(1);
    expect(here.conductor.rescheduled).toEqual([]);

    await here.replay('terminate', 'compute_terminate_instance');
    expect(here.hypervisor.domains.size).toBe(0);
    expect(await here.allocations()).toBe(0);
  });
});

describe('a build with a wrong argument', () => {
  const refused = (): ReturnType<typeof request> => {
    const sent = request('boot-warm');
    sent.args['filter_properties'] = 'retry';
    return sent;
  };

  it('ends in ERROR where the scheduler has sent it here', async () => {
    await here.allocate(await here.agent());
    const sent = refused();
    here.store(sent.args.instance);
    sent.args.instance.set('vm_state', 'a lie');
    await here.cast(sent);
    await here.ended(BUILD);
    expect(here.states()).toEqual(['error', null, null]);
    expect(here.faultsTold).toEqual([expect.stringContaining('filter_properties is not an object')]);
    expect(await here.allocations()).toBe(0);
    expect(here.conductor.rescheduled).toEqual([]);
  });

  it('is done with by the next process where one died over it', async () => {
    const first = await here.agent();
    await here.allocate(first);
    await first.close();
    const sent = refused();
    here.store(sent.args.instance).set('vm_state', 'error');
    await here.leave(sent, 1);
    await here.agent();
    await here.ended(BUILD);
    expect(here.faultsTold).toHaveLength(1);
    expect(await here.allocations()).toBe(0);
  });

  it.each([
    ['is on its way to another host', { host: 'another' }, true],
    ['has a task', { task_state: 'deleting' }, true],
    ['is active', { vm_state: 'active' }, true],
    ['was given to no host', {}, false],
  ])('changes nothing of a server that %s', async (_name, fields, isAllocated) => {
    const agent = await here.agent();
    if (isAllocated) await here.allocate(agent);
    const sent = refused();
    const stored = here.store(sent.args.instance);
    for (const [field, value] of Object.entries(fields)) stored.set(field, value);
    const before = [...here.states(), await here.allocations()];
    await here.cast(sent);
    await vi.waitFor(() => expect(here.journaled('finished')).toBe(1), WAIT);
    expect([...here.states(), await here.allocations()]).toEqual(before);
    expect(here.faultsTold).toEqual([]);
    expect(here.conductor.events).toEqual([]);
  });

  it('changes nothing of a server that runs here', async () => {
    await here.build(await here.agent());
    here.conductor.instance(UUID).set('vm_state', 'building');
    await here.cast(refused());
    await vi.waitFor(() => expect(here.journaled('finished')).toBe(2), WAIT);
    expect(here.states()).toEqual(['building', null, HOST]);
    expect(here.faultsTold).toEqual([]);
    expect(here.hypervisor.domains.size).toBe(1);
  });
});

describe('an agent that closes', () => {
  it('waits for a frozen broker no longer than for its commands', async () => {
    const agent = await here.agent();
    services().rabbitmq.freeze();
    try {
      const begin = performance.now();
      await agent.close({ graceMs: 1000 });
      // The heartbeat would take a minute.
      expect(performance.now() - begin).toBeLessThan(25_000);
    } finally {
      services().rabbitmq.thaw();
    }
  });

  it('gives a build back once that fails in its last moments', async () => {
    const agent = await here.agent();
    await here.allocate(agent);
    here.faults.add({ at: 'spawn.start', hang: 'deaf' });
    here.faults.add({ at: 'spawn.start.done', fail: new ComputeError('START_FAILED', 'no such luck') });
    const sent = request('boot-warm');
    here.store(sent.args.instance);
    await here.cast(sent);
    await here.faults.reached('spawn.start');
    const closed = agent.close();
    here.faults.release();
    await closed;
    expect(here.journaled('commands')).toBe(0);
    await vi.waitFor(() => expect(here.conductor.rescheduled).toHaveLength(1), WAIT);
    expect(here.states()).toEqual(['building', 'scheduling', null]);
  });
});

describe('a snapshot that fails', () => {
  const IMAGE = String(request('snapshot').args['image_id']);
  /** Not yet filled by a snapshot. */
  const queue = (): void =>
    here.hypervisor.setSnapshot(IMAGE, { instanceUuid: 'of the API', state: 'making' });

  it('takes its record in Glance with it', async () => {
    const agent = await here.agent();
    await here.build(agent);
    queue();
    here.faults.add({ at: 'snapshot', fail: new ComputeError('NO_SPACE', 'the disk is full') });
    await here.replay('snapshot', 'compute_snapshot_instance');
    expect(here.hypervisor.snapshots.size).toBe(0);
    expect(here.states()).toEqual(['active', null, HOST]);
  });

  it('also where its instance is gone, and says so where it cannot', async () => {
    const agent = await here.agent();
    await here.build(agent);
    await agent.node.terminate(UUID);
    here.conductor.instances.clear();
    queue();
    const sent = request('snapshot');
    await here.cast(sent);
    await here.ended('compute_snapshot_instance');
    expect(here.hypervisor.snapshots.size).toBe(0);

    queue();
    here.faults.add({ at: 'undoSnapshot', fail: new ComputeError('IMAGE_UPLOAD_FAILED', 'Glance is away') });
    await here.cast(sent);
    await vi.waitFor(
      () => expect(here.conductor.finished('compute_snapshot_instance')).toHaveLength(2),
      WAIT,
    );
    expect(here.lines).toContainEqual(expect.stringContaining('stays as it is in Glance: Glance is away'));
  });
});
