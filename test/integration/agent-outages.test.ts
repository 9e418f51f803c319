// A real libvirtd, Glance and Placement that are away for a while under an agent: no command is lost, and guests run on.
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { decodeValue, encodeValue, type NovaObject } from '../../src/agent/nova-object.js';
import { ComputeAgent } from '../../src/index.js';
import { allocate, allocations } from '../agent/allocations.js';
import { type ControlPlane, controlPlane } from '../agent/control-plane.js';
import { type Arguments, BUILD, copyOf, HOST, request, TARGET, UUID, WAIT } from '../agent/sent.js';
import { GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';

type Fields = Readonly<Record<string, unknown>>;

/** More than a loopback brings before it is noticed. */
const IMAGE_BYTES = 64 * 2 ** 20;

const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle() ?? PrivateGlance.obstacle();
const host = new TestHost();
const within = (name: string): string => {
  mkdirSync(join(host.directory, name), { recursive: true });
  return join(host.directory, name);
};
let daemon: PrivateLibvirtd;
let placement: PrivatePlacement;
let glance: PrivateGlance;
let rabbitmq: PrivateRabbitmq;
let image: string;

beforeAll(async () => {
  if (obstacle) return;
  [daemon, rabbitmq, placement, glance] = await Promise.all([
    PrivateLibvirtd.start(join(host.directory, 'd')),
    PrivateRabbitmq.start(within('broker')),
    PrivatePlacement.start(within('placement')),
    PrivateGlance.start(within('glance')),
  ]);
  image = await glance.add({ disk_format: 'qcow2', container_format: 'bare' }, GUEST_IMAGE);
}, 120_000);

beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));

afterAll(async () => {
  await glance?.stop();
  await placement?.stop();
  await rabbitmq?.stop();
  daemon?.stop();
  host.dispose();
});

/** All tests have one host: its node, and its provider in Placement. */
class Bench {
  readonly lines: string[] = [];
  readonly #plane: ControlPlane;
  #agent: ComputeAgent | undefined;

  static async open(): Promise<Bench> {
    const bench = new Bench(await controlPlane(rabbitmq.url, within(`conductor-${randomUUID()}`)));
    const write = (text: string): number => bench.lines.push(text);
    bench.#agent = await ComputeAgent.open({
      broker: { url: rabbitmq.url },
      placement: { endpoint: placement.url, auth: { type: 'token', token: placement.token } },
      host: HOST,
      reportIntervalMs: 200,
      logger: { debug: write, info: write, warn: write, error: write },
      node: {
        driverOptions: {
          uri: daemon.uri,
          keepAliveSeconds: 1,
          images: { glance: { endpoints: [glance.url] }, http: { retryPausesMs: [50] } },
        },
        instancesPath: host.instancesPath,
      },
    });
    onTestFinished(() => bench.#agent?.close());
    return bench;
  }

  private constructor(plane: ControlPlane) {
    this.#plane = plane;
  }

  get agent(): ComputeAgent {
    if (!this.#agent) throw new Error('there is no agent');
    return this.#agent;
  }

  get conductor(): ControlPlane['conductor'] {
    return this.#plane.conductor;
  }

  /** As the API and the scheduler leave it; `send` is what they do then. */
  async server(fields: Fields = {}): Promise<{ readonly uuid: string; readonly send: () => Promise<void> }> {
    const uuid = randomUUID();
    const text = JSON.stringify(encodeValue(request('boot-warm').args)).replaceAll(UUID, uuid);
    const args = decodeValue(JSON.parse(text)) as Arguments;
    args['image'] = { id: image, disk_format: 'qcow2', container_format: 'bare', ...fields };
    this.conductor.instances.set(uuid, copyOf(args.instance));
    await allocate(placement, this.agent, uuid);
    const { client } = this.#plane;
    return { uuid, send: () => client.cast(TARGET, 'build_and_run_instance', args) };
  }

  async active(uuid: string): Promise<void> {
    await vi.waitFor(() => expect(this.states(uuid)).toEqual(['active', null, HOST]), WAIT);
    await this.ended(uuid, BUILD);
  }

  async boot(): Promise<string> {
    const { uuid, send } = await this.server();
    await send();
    await this.active(uuid);
    return uuid;
  }

  async ask(uuid: string, method: string, task: string, args: Fields = {}): Promise<void> {
    const stored = this.conductor.instance(uuid);
    stored.set('task_state', task);
    const instance: NovaObject = copyOf(stored);
    // It was saved.
    instance.merge({});
    await this.#plane.client.cast(TARGET, method, { instance, ...args });
  }

  /** Once, and well. */
  async ended(uuid: string, event: string): Promise<void> {
    const ends = (): unknown[] =>
      this.conductor.finished(event).filter(({ instanceUuid }) => instanceUuid === uuid);
    await vi.waitFor(() => expect(ends()).toMatchObject([{ failure: undefined }]), WAIT);
  }

  async waits(uuid: string): Promise<void> {
    const text = `what is asked of ${uuid} waits for a service that is away`;
    await vi.waitFor(() => expect(this.lines.join('\n')).toContain(text), WAIT);
  }

  async remove(...uuids: string[]): Promise<void> {
    for (const uuid of uuids) await this.ask(uuid, 'terminate_instance', 'deleting', { bdms: null });
    for (const uuid of uuids) await this.gone(uuid);
  }

  /** From Nova, the host and Placement. */
  async gone(uuid: string): Promise<void> {
    await this.ended(uuid, 'compute_terminate_instance');
    expect(this.conductor.instances.has(uuid)).toBe(false);
    expect(qemuProcesses(uuid)).toEqual([]);
    expect(readdirSync(host.instancesPath)).not.toContain(uuid);
    // A report under way may bring it back, and the next one takes it away.
    await vi.waitFor(async () => expect(await allocations(placement, uuid)).toEqual({}), WAIT);
  }

  states(uuid: string): unknown[] {
    return ['vm_state', 'task_state', 'host'].map((name) => this.conductor.instance(uuid).get(name));
  }

  /** What was last said of the service. */
  get disabled(): unknown {
    return this.conductor.written.findLast(
      ({ object, fields }) => object === 'Service' && 'disabled' in fields,
    )?.fields['disabled'];
  }

  get beats(): number {
    return this.conductor.written.filter(({ object }) => object === 'Service').length;
  }
}

it.each(['SIGTERM', 'SIGKILL'] as const)('a libvirtd that ended by %s is waited for', async (signal) => {
  const here = await Bench.open();
  const [stopped, deleted, rebooted, running] = await Promise.all([
    here.boot(),
    here.boot(),
    here.boot(),
    here.boot(),
  ]);
  const qemu = (uuid: string): number[] => qemuProcesses(uuid);
  const before = { running: qemu(running), rebooted: qemu(rebooted) };
  const built = await here.server();

  await daemon.goAway(signal);
  await vi.waitFor(() => expect(here.disabled).toBe(true), WAIT);
  await built.send();
  await here.ask(stopped, 'stop_instance', 'powering-off', { clean_shutdown: false });
  await here.ask(deleted, 'terminate_instance', 'deleting', { bdms: null });
  await here.ask(rebooted, 'reboot_instance', 'rebooting_hard', {
    reboot_type: 'HARD',
    block_device_info: null,
  });
  for (const uuid of [built.uuid, stopped, deleted, rebooted]) await here.waits(uuid);
  const beats = here.beats;
  await vi.waitFor(() => expect(here.beats).toBeGreaterThan(beats + 1), WAIT);
  for (const uuid of [stopped, deleted]) expect(qemu(uuid)).toHaveLength(1);
  expect([qemu(running), qemu(rebooted)]).toEqual([before.running, before.rebooted]);

  daemon.comeBack();
  await here.active(built.uuid);
  await here.ended(stopped, 'compute_stop_instance');
  await here.ended(rebooted, 'compute_reboot_instance');
  await here.gone(deleted);
  expect(here.states(stopped)).toEqual(['stopped', null, HOST]);
  expect(qemu(stopped)).toEqual([]);
  expect(here.states(rebooted)).toEqual(['active', null, HOST]);
  expect(qemu(rebooted)).toHaveLength(1);
  expect(qemu(rebooted)).not.toEqual(before.rebooted);
  expect(qemu(running)).toEqual(before.running);
  await vi.waitFor(() => expect(here.disabled).toBe(false), WAIT);
  expect(here.conductor.written.filter(({ object }) => object === 'InstanceFault')).toEqual([]);

  // Events come again.
  for (const pid of qemu(running)) process.kill(pid, 'SIGKILL');
  await vi.waitFor(() => expect(here.states(running)).toEqual(['stopped', null, HOST]), WAIT);
  await here.remove(built.uuid, stopped, rebooted, running);
});

it('a Glance that ends in the middle of a download is waited for', async () => {
  const here = await Bench.open();
  const rescued = await here.boot();
  const data = randomBytes(IMAGE_BYTES);
  const raw = { disk_format: 'raw', container_format: 'bare' };
  const id = await glance.add(raw, data);
  const digest = createHash('sha512').update(data).digest('hex');
  const bases = join(host.instancesPath, '_base');
  const before = new Set(readdirSync(bases));
  const { uuid, send } = await here.server({ id, ...raw, os_hash_algo: 'sha512', os_hash_value: digest });
  await send();
  const parts = (): number[] =>
    readdirSync(join(bases, '.tmp')).map(
      (name) => statSync(join(bases, '.tmp', name), { throwIfNoEntry: false })?.size ?? 0,
    );
  await vi.waitFor(() => expect(Math.max(0, ...parts())).toBeGreaterThan(2 ** 20), { ...WAIT, interval: 1 });
  glance.kill();
  await here.waits(uuid);
  expect(here.states(uuid)).toEqual(['building', 'spawning', HOST]);
  await here.ask(rescued, 'rescue_instance', 'rescuing', {
    rescue_password: null,
    rescue_image_ref: image,
    clean_shutdown: false,
  });
  await here.waits(rescued);

  glance = await PrivateGlance.start(within('glance'), { port: Number(new URL(glance.url).port) });
  await here.active(uuid);
  expect(qemuProcesses(uuid)).toHaveLength(1);
  const made = readdirSync(bases).filter((name) => !before.has(name) && !name.endsWith('.json'));
  expect(made).toHaveLength(1);
  const hash = createHash('sha512');
  await pipeline(createReadStream(join(bases, String(made[0])), { end: IMAGE_BYTES - 1 }), hash);
  expect(hash.digest('hex')).toBe(digest);
  expect(parts()).toEqual([]);
  await here.ended(rescued, 'compute_rescue_instance');
  expect(here.states(rescued)).toEqual(['rescued', null, HOST]);
  await here.remove(uuid, rescued);
});

it('a Placement that is away holds up no build, and is told the truth when it is back', async () => {
  const here = await Bench.open();
  const old = await here.boot();
  const { uuid, send } = await here.server();
  const { nodeUuid } = here.agent.reporter.report;
  const inventories = async (): Promise<unknown> =>
    ((await placement.call('GET', `/resource_providers/${nodeUuid}/inventories`)) as Fields)['inventories'];
  const inventory = await inventories();

  await placement.stop();
  await send();
  await here.active(uuid);
  await here.ask(old, 'terminate_instance', 'deleting', { bdms: null });
  await vi.waitFor(() => expect(here.conductor.instance(old).get('vm_state')).toBe('deleted'), WAIT);
  expect(qemuProcesses(old)).toEqual([]);
  await here.agent.node.service.disable('so that there is something to tell');

  const port = Number(new URL(placement.url).port);
  placement = await PrivatePlacement.start(within('placement'), port);
  await here.gone(old);
  await here.agent.node.service.enable();
  const of = async (): Promise<Fields> =>
    ((await placement.call('GET', `/resource_providers/${nodeUuid}/allocations`)) as { allocations: Fields })
      .allocations;
  await vi.waitFor(async () => expect(Object.keys(await of())).toEqual([uuid]), WAIT);
  expect(Object.keys(await allocations(placement, uuid))).toEqual([nodeUuid]);
  expect(await inventories()).toEqual(inventory);
  const traits = async (): Promise<unknown> =>
    ((await placement.call('GET', `/resource_providers/${nodeUuid}/traits`)) as Fields)['traits'];
  await vi.waitFor(async () => expect(await traits()).not.toContain('COMPUTE_STATUS_DISABLED'), WAIT);
  await here.remove(uuid);
});
