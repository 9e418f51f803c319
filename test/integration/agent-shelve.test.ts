// Servers that are shelved and come back: in Nova's states, with nothing left where they were, whatever fails or dies meanwhile.
import { describe, expect, it, vi } from 'vitest';
import { NovaObject } from '../../src/agent/nova-object.js';
import { ComputeError } from '../../src/driver/errors.js';
import { type ImageBench, imageServices } from '../agent/image-bench.js';
import { HOST, WAIT } from '../agent/sent.js';
import { shelvedNow, unshelving } from '../agent/shelving.js';

const open = imageServices();

const SHELVE = 'shelve_instance';
const OFFLOAD = 'shelve_offload_instance';
const UNSHELVE = 'unshelve_instance';
const UPLOADING = 'shelving_image_uploading';
const shelving = { task_state: 'shelving' };

/** What was written of the states of an instance: vm_state, task_state, and on which tasks. */
function states({ conductor }: ImageBench): unknown[] {
  return conductor.written
    .filter(({ object, fields }) => object === 'Instance' && 'task_state' in fields)
    .map(({ fields, expected }) => [fields['vm_state'], fields['task_state'], expected]);
}

function fields({ conductor }: ImageBench, uuid: string, ...names: string[]): unknown[] {
  return names.map((name) => conductor.instance(uuid).get(name));
}

const failure = ({ conductor }: ImageBench, method: string): unknown =>
  conductor.finished(`compute_${method}`).at(-1)?.failure;

const shelved = (imageId: string): Record<string, unknown> => ({
  shelved_image_id: imageId,
  shelved_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+$/),
  shelved_host: HOST,
  image_base_image_ref: 'kept',
});

const PLACE = ['vm_state', 'task_state', 'host', 'node'];
const GONE = ['shelved_offloaded', null, null, null];

describe('a server that is shelved', () => {
  it('leaves the host, and is built again from its image, which then goes', async () => {
    const bench = await open();
    const { conductor, hypervisor } = bench;
    const agent = await bench.open();
    const uuid = await bench.server(agent);
    const imageId = await bench.image();
    const shelve = { image_id: imageId, clean_shutdown: true, accel_uuids: [] };
    await bench.done(uuid, SHELVE, shelving, shelve);
    expect(failure(bench, SHELVE)).toBeUndefined();
    expect(states(bench)).toEqual([
      [undefined, 'shelving', ['shelving']],
      [undefined, 'shelving_image_pending_upload', ['shelving']],
      [undefined, UPLOADING, ['shelving_image_pending_upload']],
      ['shelved', 'shelving_offloading', ['shelving', UPLOADING]],
      [undefined, 'shelving_offloading', ['shelving_offloading']],
      ['shelved_offloaded', null, ['shelving_offloading']],
    ]);
    expect(fields(bench, uuid, ...PLACE, 'power_state')).toEqual([...GONE, 4]);
    expect(conductor.instance(uuid).get('system_metadata')).toEqual(shelved(imageId));
    expect(hypervisor.snapshots.get(imageId)).toMatchObject({ state: 'whole' });
    expect(await agent.node.list()).toEqual([]);
    expect(hypervisor.domains.size).toBe(0);
    await bench.released(uuid);

    await bench.allocate(agent, uuid);
    await bench.done(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
    expect(failure(bench, UNSHELVE)).toBeUndefined();
    expect(states(bench)).toEqual([
      [undefined, 'spawning', ['unshelving']],
      ['active', null, ['spawning']],
    ]);
    expect(fields(bench, uuid, 'vm_state', 'task_state', 'host', 'power_state')).toEqual([
      'active',
      null,
      HOST,
      1,
    ]);
    expect(conductor.instance(uuid).get('system_metadata')).toEqual({ image_base_image_ref: 'kept' });
    expect(await agent.node.get(uuid)).toMatchObject({ imageId, powerState: 'running' });
    await vi.waitFor(async () => expect(await bench.imageStatus(imageId)).toBe(404), WAIT);
    expect(await bench.allocations(uuid)).not.toEqual({});
  });

  it('may stay, at rest, and is started, or offloaded later', async () => {
    const bench = await open();
    const { conductor, hypervisor } = bench;
    const agent = await bench.open({ offloadShelved: false });
    const uuid = await bench.server(agent);
    const imageId = await bench.image();
    await bench.done(uuid, SHELVE, shelving, { image_id: imageId, clean_shutdown: true });
    expect(fields(bench, uuid, 'vm_state', 'task_state', 'host')).toEqual(['shelved', null, HOST]);
    expect((await agent.node.get(uuid)).powerState).toBe('shutdown');
    // Somebody runs it, past Nova.
    hypervisor.start(uuid, '');
    const conditions = (): unknown[] => conductor.written.map(({ expected }) => expected);
    await vi.waitFor(() => expect(conditions()).toContainEqual([null]), WAIT);
    expect((await agent.node.get(uuid)).powerState).toBe('shutdown');

    await bench.done(uuid, 'start_instance', { task_state: 'powering-on' });
    expect(fields(bench, uuid, 'vm_state', 'task_state')).toEqual(['active', null]);
    expect(conductor.instance(uuid).get('system_metadata')).toEqual({ image_base_image_ref: 'kept' });
    await vi.waitFor(async () => expect(await bench.imageStatus(imageId)).toBe(404), WAIT);

    const second = await bench.image();
    await bench.done(uuid, SHELVE, shelving, { image_id: second, clean_shutdown: false });
    await bench.done(uuid, OFFLOAD, { task_state: 'shelving_offloading' }, { clean_shutdown: false });
    expect(fields(bench, uuid, ...PLACE)).toEqual(GONE);
    expect(await agent.node.list()).toEqual([]);
    await bench.released(uuid);
    expect(await bench.imageStatus(second)).toBe(200);
  });

  it('runs on where the hypervisor is lost meanwhile, and waits for Glance where it is built again', async () => {
    const bench = await open();
    const { faults } = bench;
    const agent = await bench.open();
    const uuid = await bench.server(agent);
    const lost = new ComputeError('CONNECTION_LOST', 'libvirtd is away', { retryable: true });
    faults.add({ at: 'snapshot', fail: lost });
    faults.add({ at: 'powerOn', fail: lost, times: 2 });
    await bench.done(uuid, SHELVE, shelving, { image_id: await bench.image(), clean_shutdown: true });
    expect(failure(bench, SHELVE)).toContain('libvirtd is away');
    expect(fields(bench, uuid, 'vm_state', 'task_state', 'host')).toEqual(['active', null, HOST]);
    expect((await agent.node.get(uuid)).powerState).toBe('running');

    const imageId = await bench.image();
    await bench.done(uuid, SHELVE, shelving, { image_id: imageId, clean_shutdown: true });
    expect(fields(bench, uuid, ...PLACE)).toEqual(GONE);
    await bench.released(uuid);
    await bench.allocate(agent, uuid);
    const away = new ComputeError('IMAGE_DOWNLOAD_FAILED', 'Glance is away', { retryable: true });
    faults.add({ at: 'spawn.image', fail: away, times: 2 });
    await bench.done(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
    expect(failure(bench, UNSHELVE)).toBeUndefined();
    expect(fields(bench, uuid, 'vm_state', 'task_state', 'host')).toEqual(['active', null, HOST]);
    expect(await bench.allocations(uuid)).not.toEqual({});
  });

  it('leaves nothing half made where the hypervisor is lost as it is built again', async () => {
    const bench = await open();
    const { faults, hypervisor } = bench;
    const agent = await bench.open({ outageTimeoutMs: 0 });
    const uuid = await bench.server(agent);
    const imageId = await bench.image();
    await bench.done(uuid, SHELVE, shelving, { image_id: imageId, clean_shutdown: true });
    await bench.released(uuid);
    await bench.allocate(agent, uuid);
    const lost = new ComputeError('CONNECTION_LOST', 'libvirtd is away', { retryable: true });
    for (const at of ['spawn.start.done', 'spawn.undo', 'destroy'] as const) faults.add({ at, fail: lost });
    await bench.done(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
    expect(failure(bench, UNSHELVE)).toContain('undoing the launch failed too');
    expect(fields(bench, uuid, ...PLACE)).toEqual(GONE);
    expect(await agent.node.list()).toEqual([]);
    expect(hypervisor.domains.size).toBe(0);
    await bench.released(uuid);
  });

  it('runs on where its image cannot be made', async () => {
    const bench = await open();
    const { conductor, faults } = bench;
    const agent = await bench.open();
    const uuid = await bench.server(agent);
    faults.add({ at: 'snapshot.upload', fail: new ComputeError('IMAGE_UPLOAD_FAILED', 'no room in Glance') });
    await bench.done(uuid, SHELVE, shelving, { image_id: await bench.image(), clean_shutdown: true });
    expect(failure(bench, SHELVE)).toContain('no room in Glance');
    expect(fields(bench, uuid, 'vm_state', 'task_state', 'host', 'power_state')).toEqual([
      'active',
      null,
      HOST,
      1,
    ]);
    expect(conductor.instance(uuid).get('system_metadata')).toEqual({ image_base_image_ref: 'kept' });
    expect((await agent.node.get(uuid)).powerState).toBe('running');
    expect(await bench.allocations(uuid)).not.toEqual({});
  });

  it('stays shelved, on no host, where it cannot be built', async () => {
    const bench = await open();
    const { conductor } = bench;
    const agent = await bench.open();
    const uuid = await bench.server(agent);
    const imageId = await bench.image();
    await bench.done(uuid, SHELVE, shelving, { image_id: imageId });
    await bench.allocate(agent, uuid);
    (conductor.instance(uuid).get('flavor') as NovaObject).set('memory_mb', 1_000_000);
    await bench.done(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
    expect(failure(bench, UNSHELVE)).toContain('memory');
    expect(conductor.written.some(({ object }) => object === 'InstanceFault')).toBe(true);
    expect(fields(bench, uuid, ...PLACE)).toEqual(GONE);
    expect(conductor.instance(uuid).get('system_metadata')).toEqual(shelved(imageId));
    await bench.released(uuid);
    expect(await agent.node.list()).toEqual([]);
    expect(await bench.imageStatus(imageId)).toBe(200);
  });
});

it('a server with networks is not built without them', async () => {
  const bench = await open();
  const { conductor } = bench;
  const agent = await bench.open();
  const uuid = await bench.server(agent);
  const imageId = await bench.image();
  await bench.done(uuid, SHELVE, shelving, { image_id: imageId });
  await bench.allocate(agent, uuid);
  conductor.infoCaches.set(uuid, JSON.stringify([{ id: 'a-port' }]));
  await bench.done(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
  expect(failure(bench, UNSHELVE)).toContain('networks of Neutron, which this host does not have');
  expect(fields(bench, uuid, ...PLACE)).toEqual(GONE);
  expect(await agent.node.list()).toEqual([]);
  await bench.released(uuid);
  expect(await bench.imageStatus(imageId)).toBe(200);
});

it('a guest whose server became something else while it was built goes, and its image stays', async () => {
  const bench = await open();
  const { conductor, faults, hypervisor } = bench;
  const agent = await bench.open();
  const uuid = await bench.server(agent);
  const imageId = await bench.image();
  await bench.done(uuid, SHELVE, shelving, { image_id: imageId });
  await bench.allocate(agent, uuid);
  faults.add({ at: 'spawn.start.done', hang: 'deaf' });
  await bench.ask(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
  await faults.reached('spawn.start.done');
  conductor.instance(uuid).set('task_state', null);
  faults.release();
  await vi.waitFor(() => expect(conductor.finished(`compute_${UNSHELVE}`)).toHaveLength(1), WAIT);
  expect(failure(bench, UNSHELVE)).toContain('UnexpectedTaskStateError');
  expect(fields(bench, uuid, ...PLACE)).toEqual(GONE);
  expect(await agent.node.list()).toEqual([]);
  expect(hypervisor.domains.size).toBe(0);
  await bench.released(uuid);
  expect(await bench.imageStatus(imageId)).toBe(200);
});

it('messages that are not true take no server from its host, and no image from Glance', async () => {
  const bench = await open();
  const { conductor } = bench;
  const agent = await bench.open();
  const uuid = await bench.server(agent);
  const imageId = await bench.image();
  const held = await bench.allocations(uuid);
  // Of a server that runs, by its stored state: whatever the message says of it.
  await bench.done(uuid, OFFLOAD, { task_state: 'shelving_offloading' });
  expect(failure(bench, OFFLOAD)).toContain('is not shelved');
  await bench.done(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
  expect(failure(bench, UNSHELVE)).toContain('has not left its host');
  for (const method of [SHELVE, OFFLOAD, UNSHELVE]) {
    await bench.done(
      uuid,
      method,
      { task_state: 'rebooting' },
      { ...unshelving(imageId), image_id: imageId },
    );
    expect(conductor.instance(uuid).get('task_state')).toBe('rebooting');
  }
  const instance = conductor.instance(uuid);
  const lie = NovaObject.create({
    name: instance.name,
    version: instance.version,
    fields: { uuid, system_metadata: { shelved_image_id: imageId } },
  });
  await bench.done(uuid, 'start_instance', { task_state: 'powering-on' }, { instance: lie });
  expect(failure(bench, 'start_instance')).toBeUndefined();
  expect(await bench.imageStatus(imageId)).toBe(200);
  expect(fields(bench, uuid, 'vm_state', 'task_state', 'host')).toEqual(['active', null, HOST]);
  expect((await agent.node.get(uuid)).powerState).toBe('running');
  expect(await bench.allocations(uuid)).toEqual(held);
});

describe('what a process that died had taken', () => {
  it('of a shelving is done to its end, once', async () => {
    const bench = await open();
    const { conductor, faults } = bench;
    const first = await bench.open();
    const uuid = await bench.server(first);
    const imageId = await bench.image();
    faults.add({ at: 'snapshot.upload', hang: 'abortable' });
    await bench.ask(uuid, SHELVE, shelving, { image_id: imageId });
    await vi.waitFor(() => expect(conductor.instance(uuid).get('task_state')).toBe(UPLOADING), WAIT);
    await first.close({ graceMs: 0 });
    expect(fields(bench, uuid, 'vm_state', 'task_state')).toEqual(['active', UPLOADING]);

    // The image is whole, and its guest has not run since.
    const details = { status: 'active' };
    faults.add({ at: 'snapshot', fail: new ComputeError('INVALID_STATE', 'it has data', { details }) });
    const second = await bench.open();
    await vi.waitFor(() => expect(fields(bench, uuid, ...PLACE)).toEqual(GONE), WAIT);
    await vi.waitFor(() => expect(conductor.finished(`compute_${SHELVE}`)).toHaveLength(1), WAIT);
    expect(failure(bench, SHELVE)).toBeUndefined();
    expect(await second.node.list()).toEqual([]);
    await second.close();

    // It died after all was done, and before the journal knew.
    await bench.taken(uuid, SHELVE, {}, { image_id: imageId });
    await bench.open();
    await vi.waitFor(() => expect(conductor.finished(`compute_${SHELVE}`)).toHaveLength(2), WAIT);
    expect(states(bench)).toEqual([]);
  });

  it('of an offloading is finished, also where its guest is gone', async () => {
    const bench = await open();
    const first = await bench.open();
    const uuid = await bench.server(first);
    const imageId = await bench.image();
    await first.node.terminate(uuid);
    await first.close();
    const stored = {
      system_metadata: shelvedNow(imageId),
      vm_state: 'shelved',
      task_state: 'shelving_offloading',
    };
    await bench.taken(uuid, SHELVE, stored, { image_id: imageId });
    await bench.open();
    await vi.waitFor(() => expect(fields(bench, uuid, ...PLACE)).toEqual(GONE), WAIT);
    await bench.released(uuid);
  });

  it('of an unshelving takes the guest that stands', async () => {
    const bench = await open();
    const { conductor } = bench;
    const first = await bench.open();
    const uuid = await bench.server(first);
    const imageId = await bench.image();
    await first.close();
    const stored = {
      system_metadata: shelvedNow(imageId),
      vm_state: 'shelved_offloaded',
      task_state: 'spawning',
    };
    await bench.taken(uuid, UNSHELVE, stored, unshelving(imageId));
    const second = await bench.open();
    await vi.waitFor(() => expect(conductor.finished(`compute_${UNSHELVE}`)).toHaveLength(1), WAIT);
    expect(failure(bench, UNSHELVE)).toBeUndefined();
    expect(fields(bench, uuid, 'vm_state', 'task_state', 'host')).toEqual(['active', null, HOST]);
    expect((await second.node.get(uuid)).powerState).toBe('running');
    await vi.waitFor(async () => expect(await bench.imageStatus(imageId)).toBe(404), WAIT);
  });

  it('of an unshelving that it had given up is not built without an allocation', async () => {
    const bench = await open();
    const { conductor } = bench;
    const first = await bench.open();
    const uuid = await bench.server(first);
    const imageId = await bench.image();
    await bench.done(uuid, SHELVE, shelving, { image_id: imageId });
    await first.close();
    await bench.taken(uuid, UNSHELVE, { task_state: 'spawning' }, unshelving(imageId));
    const second = await bench.open();
    await vi.waitFor(() => expect(conductor.finished(`compute_${UNSHELVE}`)).toHaveLength(1), WAIT);
    expect(failure(bench, UNSHELVE)).toContain('gave it up');
    expect(fields(bench, uuid, ...PLACE)).toEqual(GONE);
    expect(await second.node.list()).toEqual([]);
    expect(await bench.imageStatus(imageId)).toBe(200);
  });

  it('of an unshelving is made anew where what is left of it could not be removed', async () => {
    const bench = await open();
    const { conductor, faults, hypervisor } = bench;
    const first = await bench.open();
    const uuid = await bench.server(first);
    const imageId = await bench.image();
    await bench.done(uuid, SHELVE, shelving, { image_id: imageId });
    await bench.allocate(first, uuid);
    faults.add({ at: 'spawn.start', hang: 'abortable' });
    // Of the launch that is cut short, and of the next start of the node.
    const fail = new ComputeError('HYPERVISOR', 'it stays');
    faults.add({ at: 'spawn.undo', fail });
    faults.add({ at: 'destroy', fail, times: 2 });
    await bench.ask(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
    await faults.reached('spawn.start');
    await first.close({ graceMs: 0 });
    expect(hypervisor.domains.size).toBe(1);
    const second = await bench.open();
    await vi.waitFor(() => expect(conductor.finished(`compute_${UNSHELVE}`)).toHaveLength(1), WAIT);
    expect(failure(bench, UNSHELVE)).toBeUndefined();
    expect((await second.node.get(uuid)).powerState).toBe('running');
    expect(fields(bench, uuid, 'vm_state', 'task_state', 'host')).toEqual(['active', null, HOST]);
  });
});

it('an unshelving that is cut short by the end of the agent is done at its next start', async () => {
  const bench = await open();
  const { conductor, faults } = bench;
  const first = await bench.open();
  const uuid = await bench.server(first);
  const imageId = await bench.image();
  await bench.done(uuid, SHELVE, shelving, { image_id: imageId });
  await bench.allocate(first, uuid);
  faults.add({ at: 'spawn.start', hang: 'abortable' });
  await bench.ask(uuid, UNSHELVE, { task_state: 'unshelving' }, unshelving(imageId));
  await faults.reached('spawn.start');
  await first.close({ graceMs: 0 });
  expect(fields(bench, uuid, 'vm_state', 'task_state')).toEqual(['shelved_offloaded', 'spawning']);
  const second = await bench.open();
  await vi.waitFor(() => expect(conductor.finished(`compute_${UNSHELVE}`)).toHaveLength(1), WAIT);
  expect(failure(bench, UNSHELVE)).toBeUndefined();
  expect(fields(bench, uuid, 'vm_state', 'task_state', 'host')).toEqual(['active', null, HOST]);
  expect((await second.node.get(uuid)).powerState).toBe('running');
});
