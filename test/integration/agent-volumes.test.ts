// Volumes of Cinder that come to a server and go: the guest, Cinder and Nova's database agree.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { NovaObject } from '../../src/agent/nova-object.js';
import { REQUESTS } from '../agent/fake-cinder.js';
import { faultServices } from '../agent/fault-bench.js';
import { HOST, request, TARGET, UUID, WAIT } from '../agent/sent.js';
import { VolumeBench } from '../agent/volume-bench.js';

const services = faultServices();
let bench: VolumeBench;

beforeEach(async () => {
  bench = await VolumeBench.open(services());
});
const classOf = async (call: Promise<unknown>): Promise<unknown> =>
  await call.then(
    () => undefined,
    (error: unknown) => (error as { remote?: { class: string } }).remote?.class ?? error,
  );

describe('the name of a volume', () => {
  it('is free, and its record is at Nova before it is told', async () => {
    await bench.ready();
    const [first, second, third] = [bench.cinder.volume(), bench.cinder.volume(), bench.cinder.volume()];
    const mapping = await bench.reserveName(first.id);
    expect(mapping.name).toBe('BlockDeviceMapping');
    expect(mapping.changes).toEqual([]);
    const fields = {
      id: expect.any(Number),
      instance_uuid: UUID,
      volume_id: first.id,
      source_type: 'volume',
      destination_type: 'volume',
      device_name: '/dev/vdb',
      boot_index: null,
      disk_bus: null,
      delete_on_termination: false,
    };
    for (const [field, value] of Object.entries(fields)) expect(mapping.get(field), field).toEqual(value);
    expect(bench.mapping(first)?.get('device_name')).toBe('/dev/vdb');
    const wanted = await bench.reserveName(second.id, { device: '/dev/vdd' });
    expect(wanted.get('device_name')).toBe('/dev/vdd');
    const taken = await bench.reserveName(third.id, { device: '/dev/vdb' });
    expect(taken.get('device_name')).toBe('/dev/vdc');
  });

  it('of two that ask at the same time is not the same', async () => {
    await bench.ready();
    const ids = Array.from({ length: 5 }, () => bench.cinder.volume().id);
    const names = await Promise.all(ids.map((id) => bench.reserveName(id)));
    expect(new Set(names.map((one) => one.get('device_name'))).size).toBe(5);
  });

  it('is refused in the words that the API knows', async () => {
    await bench.ready();
    const { id } = bench.cinder.volume();
    await bench.reserveName(id);
    expect(await classOf(bench.reserveName(id))).toBe('InvalidVolume');
    const other = bench.cinder.volume().id;
    expect(await classOf(bench.reserveName(other, { tag: 'db' }))).toBe('VolumeTaggedAttachNotSupported');
    const unknown = bench.instance;
    unknown.set('uuid', '0b1c2d3e-0000-4000-8000-000000000001');
    expect(await classOf(bench.reserveName(other, { instance: unknown }))).toBe('InstanceNotFound');
    for (const each of [...'cdefghijklmnopqrstuvwxyz']) {
      const { id: next } = bench.cinder.volume();
      expect((await bench.reserveName(next)).get('device_name')).toBe(`/dev/vd${each}`);
    }
    expect(await classOf(bench.reserveName(other))).toBe('TooManyDiskDevices');
    expect(bench.here.conductor.mappings).toHaveLength(25);
  });

  it('is none on a host without Cinder, and what is sent there is a fault', async () => {
    await bench.here.build(await bench.here.agent());
    const volume = bench.cinder.volume();
    expect(await classOf(bench.reserveName(volume.id))).toBe('InvalidVolume');
    expect(await bench.done(bench.detaching(volume))).toContain('does not support detach_volume');
  });
});

describe('a volume', () => {
  it('is attached as this host reaches it, and detached', async () => {
    const agent = await bench.ready();
    const volume = bench.cinder.volume({ size: 3 });
    await bench.attached(volume);
    expect(bench.attachmentsOf(volume)).toMatchObject([
      {
        connector: {
          host: HOST,
          ip: '192.0.2.7',
          os_type: 'linux',
          platform: expect.any(String),
          multipath: false,
          do_local_attach: false,
          mountpoint: '/dev/vdb',
        },
      },
    ]);
    const path = `/dev/volumes/${volume.id}`;
    expect((await agent.node.get(UUID)).volumes).toEqual([
      { device: 'vdb', connection: { driverVolumeType: 'block', data: { path }, serial: volume.id } },
    ]);
    const mapping = bench.mapping(volume);
    expect(mapping?.get('volume_size')).toBe(3);
    expect(JSON.parse(String(mapping?.get('connection_info')))).toEqual({
      driver_volume_type: 'local',
      data: { device_path: path, access_mode: 'rw' },
      status: 'attaching',
      instance: UUID,
      attached_at: null,
      detached_at: null,
      volume_id: volume.id,
      serial: volume.id,
    });
    expect(await bench.done(bench.detaching(volume))).toBeUndefined();
    bench.expectGone(volume);
    expect(bench.here.faultsTold).toEqual([]);
    expect(bench.here.states()).toEqual(['active', null, HOST]);
  });

  it('of several servers is shared, and is no other than that for one', async () => {
    await bench.ready();
    const volume = bench.cinder.volume({ multiattach: true });
    await bench.attached(volume);
    expect(bench.here.hypervisor.domains.get(UUID)?.instance.volumes).toMatchObject([
      { connection: { multiattach: true } },
    ]);
    expect(JSON.parse(String(bench.mapping(volume)?.get('connection_info')))).toMatchObject({
      multiattach: true,
    });
  });

  it('has the next free name where its own is taken meanwhile, and Nova is told', async () => {
    const agent = await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    const data = { path: '/volumes/other', format: 'raw' } as const;
    await agent.node.attachVolume(UUID, { driverVolumeType: 'file', data }, { device: 'vdb' });
    expect(await bench.done(sent)).toBeUndefined();
    bench.expectAttached(volume);
    expect(bench.mapping(volume)?.get('device_name')).toBe('/dev/vdc');
  });

  it('that is attached is not attached again, and stays', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    expect(await bench.done(sent)).toBeUndefined();
    expect(await bench.done(sent)).toContain('already');
    bench.expectAttached(volume);
  });

  it('that Nova knows nothing of is neither attached nor detached', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    const sent = await bench.attaching(volume);
    bench.here.conductor.mappings.length = 0;
    expect(await bench.done(sent)).toContain('has no volume');
    expect(await bench.done(bench.detaching(volume))).toContain('has no volume');
    expect(bench.disks).toEqual([]);
  });

  it('that is made larger is larger for the guest', async () => {
    await bench.ready();
    const [volume, other] = [bench.cinder.volume(), bench.cinder.volume()];
    await bench.attached(volume);
    volume.size = 5;
    const { client, conductor, faults } = bench.here;
    const extended = vi.fn();
    faults.add({ at: 'extendVolume', delayMs: 1 });
    void faults.reached('extendVolume').then(extended);
    const events = [other, volume].map(({ id: tag }) => {
      const fields = { instance_uuid: UUID, name: 'volume-extended', status: 'completed', tag, data: '{}' };
      return NovaObject.create({ name: 'InstanceExternalEvent', version: '1.5', fields });
    });
    await client.cast(TARGET, 'external_instance_event', { instances: [bench.instance], events });
    await vi.waitFor(() => expect(extended).toHaveBeenCalled(), WAIT);
    expect(bench.mapping(volume)?.get('volume_size')).toBe(5);
    expect(conductor.mappings).toHaveLength(1);
  });
});

describe('a server with volumes', () => {
  it('leaves none of them attached when it is deleted, and takes with it those that go with it', async () => {
    await bench.ready();
    const [kept, gone] = [bench.cinder.volume(), bench.cinder.volume()];
    await bench.attached(kept);
    await bench.attached(gone, { delete_on_termination: true });
    for (const at of [REQUESTS.disconnect, REQUESTS.remove]) {
      bench.cinder.mishaps.push({ at, mishap: 'away' }, { at, mishap: 'answer-lost' });
    }
    await bench.terminated();
    expect(bench.here.conductor.instances.has(UUID)).toBe(false);
    expect(bench.here.hypervisor.domains.size).toBe(0);
    bench.expectGone(kept);
    expect([...bench.cinder.volumes.keys()]).toEqual([kept.id]);
    expect([...bench.cinder.attachments.keys()]).toEqual([]);
  });

  it('is deleted also where Cinder keeps them, and the log tells of them', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume, { delete_on_termination: true });
    bench.cinder.mishaps.push({ at: REQUESTS.disconnect, mishap: 'refused' });
    await bench.terminated();
    expect(bench.here.conductor.instances.has(UUID)).toBe(false);
    expect(bench.attachmentsOf(volume)).toHaveLength(1);
    for (const what of ['stays attached: Cinder: delete attachment', 'stays: Cinder: delete volume']) {
      expect(bench.here.lines).toContainEqual(expect.stringContaining(`the volume ${volume.id} ${what}`));
    }
  });

  it('keeps them when it is rebuilt, resized and rescued', async () => {
    const agent = await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    const { node } = agent;
    const image = { id: UUID, diskFormat: 'qcow2', source: { type: 'glance' } } as const;
    await node.rebuild(UUID, { image });
    expect(bench.disks).toEqual([volume.id]);
    await node.resize(UUID, { name: 'larger', vcpus: 2, memoryMb: 128, rootGb: 1 });
    await node.confirmResize(UUID);
    expect(bench.disks).toEqual([volume.id]);
    await node.rescue(UUID);
    await node.unrescue(UUID);
    expect(bench.disks).toEqual([volume.id]);
    expect(await bench.done(bench.detaching(volume))).toBeUndefined();
    bench.expectGone(volume);
  });

  it('is not shelved, and runs on', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    const { conductor } = bench.here;
    conductor.instance(UUID).set('task_state', 'shelving');
    const image_id = request('snapshot').args['image_id'];
    const args = { instance: bench.instance, image_id, clean_shutdown: true };
    expect(await bench.done({ method: 'shelve_instance', args })).toContain('volumes of Cinder');
    expect(bench.here.states()).toEqual(['active', null, HOST]);
    bench.expectAttached(volume);
  });

  it('that is shelved on its host stays there', async () => {
    await bench.ready();
    const volume = bench.cinder.volume();
    await bench.attached(volume);
    const stored = bench.here.conductor.instance(UUID);
    stored.set('vm_state', 'shelved');
    stored.set('task_state', 'shelving_offloading');
    stored.set('system_metadata', { shelved_image_id: 'x' });
    const args = { instance: bench.instance, clean_shutdown: true };
    expect(await bench.done({ method: 'shelve_offload_instance', args })).toContain('volumes of Cinder');
    expect(bench.here.states()).toEqual(['shelved', null, HOST]);
    bench.expectAttached(volume);
  });
});
