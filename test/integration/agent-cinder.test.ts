// A real Cinder, a real guest and the agent between them: the guest sees the volumes, and Cinder that it has them.
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { PrivateCinder } from '../../scripts/private-cinder.mjs';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { ownContext } from '../../src/agent/context.js';
import { NovaObject } from '../../src/agent/nova-object.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { Undo } from '../../src/driver/undo.js';
import { AgentChild } from '../agent/agent-child.js';
import { FakeConductor } from '../agent/fake-conductor.js';
import { FaultServices, obstacle } from '../agent/fault-bench.js';
import { copyOf, HOST, request, TARGET, WAIT } from '../agent/sent.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const GIB = 2 ** 30;
const missing = obstacle ?? PrivateCinder.obstacle();
const host = new TestHost();
const undo = new Undo();
const conductor = new FakeConductor();
const uuid = randomUUID();
let cinder: PrivateCinder;
let client: RpcClient;
let agent: AgentChild;
let startAgent: () => Promise<AgentChild>;

beforeAll(async () => {
  undo.add('host', async () => host.dispose());
  if (missing) return;
  const within = (name: string): string => {
    const path = join(host.directory, name);
    mkdirSync(path);
    // QEMU's own user must get through.
    chmodSync(path, 0o711);
    return path;
  };
  const services = await FaultServices.start();
  undo.add('services', () => services.stop());
  cinder = await PrivateCinder.start(within('cinder'));
  undo.add('cinder', () => cinder.stop());
  const broker = new AmqpBroker({ url: services.rabbitmq.url });
  undo.add('broker', () => broker.close());
  await conductor.open(broker, within('conductor'));
  undo.add('conductor', () => conductor.close());
  client = await RpcClient.open(broker, { context: ownContext() });
  undo.add('client', () => client.close());
  const node = { instancesPath: host.instancesPath, driverOptions: { root: host.root } };
  launch();
  const volume = {
    endpoint: cinder.url,
    auth: { type: 'token', token: 'admin:service' },
    mountBase: cinder.mountBase,
  };
  startAgent = () =>
    AgentChild.start({
      directory: join(host.directory, 'agent'),
      host: HOST,
      brokerUrl: services.rabbitmq.url,
      placement: { url: services.placement.url, token: 'admin:placement' },
      more: { volume, node },
    });
  const { instance } = request('stop').args;
  instance.set('uuid', uuid);
  instance.set('task_state', null);
  conductor.instances.set(uuid, copyOf(instance));
  agent = await startAgent();
  undo.add('agent', async () => void (await agent.stop()));
  await host.booted(uuid);
}, 180_000);

/** The guest, which an agent then finds. By a process of its own: libvirt, embedded, stays as long as that. */
function launch(): void {
  const path = join(host.directory, 'request.json');
  const request = {
    uuid,
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
  };
  writeFileSync(path, JSON.stringify(request));
  const place = ['--instances-path', host.instancesPath, '--root', host.root];
  execFileSync(process.execPath, [CLI, 'launch', '--request', path, ...place], { stdio: 'pipe' });
}

beforeEach(({ skip }) => skip(missing !== undefined, missing));
afterAll(async () => {
  expect(await undo.run()).toEqual([]);
});

const show = async (id: string): Promise<{ readonly status: string; readonly attachments: unknown[] }> =>
  ((await cinder.call('GET', `/volumes/${id}`)) as { volume: { status: string; attachments: unknown[] } })
    .volume;

async function becomes(id: string, status: string): Promise<void> {
  await vi.waitFor(async () => expect((await show(id)).status).toBe(status), WAIT);
}

async function made(name: string): Promise<string> {
  const { volume } = (await cinder.call('POST', '/volumes', { volume: { name, size: 1 } })) as {
    volume: { id: string };
  };
  await becomes(volume.id, 'available');
  return volume.id;
}

/** Sends it and waits for the end of it. */
async function done(method: string, args: object): Promise<unknown> {
  const ended = () => conductor.finished(`compute_${method}`);
  const before = ended().length;
  await client.cast(TARGET, method, { instance: copyOf(conductor.instance(uuid)), ...args });
  await vi.waitFor(() => expect(ended()).toHaveLength(before + 1), WAIT);
  return ended().at(-1)?.failure;
}

/** As Nova's API does it: the id of the attachment. */
async function reserved(volumeId: string): Promise<string> {
  const attachment = { volume_uuid: volumeId, instance_uuid: uuid };
  const made = (await cinder.call('POST', '/attachments', { attachment })) as { attachment: { id: string } };
  return made.attachment.id;
}

async function detach(volumeId: string): Promise<unknown> {
  await cinder.call('POST', `/volumes/${volumeId}/action`, { 'os-begin_detaching': {} });
  return await done('detach_volume', { volume_id: volumeId, attachment_id: null });
}

/** As Nova's API does. */
async function attach(volumeId: string, fields: object = {}): Promise<unknown> {
  const bdm = (await client.call(TARGET, 'reserve_block_device_name', {
    instance: copyOf(conductor.instance(uuid)),
    volume_id: volumeId,
    device: null,
    disk_bus: null,
    device_type: null,
    tag: null,
    multiattach: false,
  })) as NovaObject;
  const attachment_id = await reserved(volumeId);
  const stored = conductor.mappings.find((one) => one.get('id') === bdm.get('id'));
  for (const [field, value] of Object.entries({ attachment_id, ...fields })) {
    stored?.set(field, value);
  }
  return await done('attach_volume', { bdm });
}

const definition = (): string => readFileSync(join(host.instancesPath, uuid, 'libvirt.xml'), 'utf8');

/** kill -9 when it tells the conductor of this, which may hear it or not; then another begins. */
async function killedAt(method: string, isHeard: boolean, sending: () => Promise<unknown>): Promise<unknown> {
  let isDue = true;
  conductor.refuses = (object, asked) => {
    if (!isDue || object !== 'BlockDeviceMapping' || asked !== method) return false;
    isDue = false;
    agent.kill();
    return !isHeard;
  };
  const ending = sending();
  await vi.waitFor(() => expect(agent.isAlive).toBe(false), WAIT);
  agent = await startAgent();
  return await ending;
}

function fileOf(volumeId: string): string {
  const [mount = ''] = readdirSync(cinder.mountBase);
  return join(cinder.mountBase, mount, `volume-${volumeId}`);
}

function writeAt(path: string, data: Buffer): void {
  const file = openSync(path, 'r+');
  writeSync(file, data, 0, data.length, 0);
  closeSync(file);
}

function readFrom(path: string, length: number): Buffer {
  const data = Buffer.alloc(length);
  const file = openSync(path, 'r');
  readSync(file, data, 0, length, 0);
  closeSync(file);
  return data;
}

const sees = (what: string, disks: readonly object[]): Promise<unknown> =>
  host.sees(uuid, what, (devices) => {
    const [, ...volumes] = devices.disks.map(({ bytes, serial }) => ({ bytes, serial }));
    return JSON.stringify(volumes) === JSON.stringify(disks);
  });
/** Of a disk of virtio. */
const serialOf = (volumeId: string): string => volumeId.slice(0, 20);

it('a file is attached, grows, and is detached', async () => {
  const id = await made('file');
  expect(await attach(id)).toBeUndefined();
  await sees('the volume', [{ bytes: GIB, serial: serialOf(id) }]);
  await becomes(id, 'in-use');
  expect((await show(id)).attachments).toMatchObject([
    { server_id: uuid, host_name: HOST, device: '/dev/vdb' },
  ]);

  await cinder.call('POST', `/volumes/${id}/action`, { 'os-extend': { new_size: 2 } });
  await becomes(id, 'in-use');
  const fields = { instance_uuid: uuid, name: 'volume-extended', status: 'completed', tag: id, data: '{}' };
  const event = NovaObject.create({ name: 'InstanceExternalEvent', version: '1.5', fields });
  await client.cast(TARGET, 'external_instance_event', { instances: [], events: [event] });
  await sees('2 GiB', [{ bytes: 2 * GIB, serial: serialOf(id) }]);

  expect(await detach(id)).toBeUndefined();
  await sees('no volume', []);
  expect(await show(id)).toMatchObject({ status: 'available', attachments: [] });
  expect(conductor.mappings).toEqual([]);
});

it('a file is swapped for another, which has its data', async () => {
  const [from, to] = [await made('from'), await made('to')];
  const data = randomBytes(2 ** 20);
  writeAt(fileOf(from), data);
  expect(await attach(from)).toBeUndefined();
  await sees('the first', [{ bytes: GIB, serial: serialOf(from) }]);

  await cinder.call('POST', `/volumes/${from}/action`, { 'os-begin_detaching': {} });
  const new_attachment_id = await reserved(to);
  const ids = { old_volume_id: from, new_volume_id: to, new_attachment_id };
  expect(await done('swap_volume', ids)).toBeUndefined();
  expect(await show(from)).toMatchObject({ status: 'available', attachments: [] });
  expect(await show(to)).toMatchObject({ status: 'in-use', attachments: [{ server_id: uuid }] });
  expect(readFrom(fileOf(to), data.length).equals(data)).toBe(true);
  expect(definition()).toContain(fileOf(to));
  expect(definition()).not.toContain(fileOf(from));

  expect(await detach(to)).toBeUndefined();
  await sees('no volume', []);
  expect((await show(to)).status).toBe('available');
});

it('an agent that is killed when all but Nova knows of the volume goes on, and so with its end', async () => {
  const id = await made('killed');
  expect(await killedAt('save', false, () => attach(id))).toBeUndefined();
  await sees('the volume', [{ bytes: GIB, serial: serialOf(id) }]);
  expect(await show(id)).toMatchObject({ status: 'in-use', attachments: [{ server_id: uuid }] });
  const [mapping] = conductor.mappings;
  expect(JSON.parse(String(mapping?.get('connection_info')))).toMatchObject({ serial: id });

  expect(await killedAt('destroy', true, () => detach(id))).toBeUndefined();
  await sees('no volume', []);
  expect(await show(id)).toMatchObject({ status: 'available', attachments: [] });
  expect(conductor.mappings).toEqual([]);
});

it('a block device is attached, and goes with the server', async ({ skip }) => {
  const id = await made('loop');
  try {
    execFileSync('losetup', ['--find'], { stdio: 'pipe' });
  } catch {
    skip('no loop device');
  }
  expect(await attach(id, { delete_on_termination: true })).toBeUndefined();
  await sees('the device', [{ bytes: GIB, serial: serialOf(id) }]);
  expect(definition()).toMatch(/<source dev='\/dev\/loop\d+'/);

  conductor.instance(uuid).set('task_state', 'deleting');
  expect(await done('terminate_instance', { bdms: [] })).toBeUndefined();
  await vi.waitFor(() => expect(show(id)).rejects.toThrow('404'), WAIT);
  expect(host.remains()).toEqual([]);
});
