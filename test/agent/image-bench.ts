// An agent that can be opened again, with a real broker, Placement and Glance; a hypervisor and a conductor in memory.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, vi } from 'vitest';
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { ComputeAgent, type ComputeAgentOptions, FakeHypervisor, Faults } from '../../src/index.js';
import { allocate, allocations } from './allocations.js';
import { controlPlane } from './control-plane.js';
import type { FakeConductor } from './fake-conductor.js';
import { copyOf, HOST, leave, request, TARGET, WAIT } from './sent.js';

type Fields = Readonly<Record<string, unknown>>;

export interface ImageBench {
  readonly conductor: FakeConductor;
  readonly hypervisor: FakeHypervisor;
  readonly faults: Faults;
  open(options?: Partial<ComputeAgentOptions>): Promise<ComputeAgent>;
  /** What the scheduler does before it sends a server to the host. */
  allocate(agent: ComputeAgent, uuid: string): Promise<void>;
  allocations(uuid: string): Promise<object>;
  /** It has none, once a report of before has been made good. */
  released(uuid: string): Promise<void>;
  /** A server that runs here. */
  server(agent: ComputeAgent): Promise<string>;
  /** The API sets these fields, and sends the instance with the command. */
  ask(uuid: string, method: string, fields: Fields, args?: Fields): Promise<void>;
  /** The same; resolves when the conductor has heard of its end. */
  done(uuid: string, method: string, fields: Fields, args?: Fields): Promise<void>;
  /** A process had taken the command, and died with these fields stored. */
  taken(uuid: string, method: string, fields: Fields, args?: Fields): Promise<void>;
  /** An image of the real Glance; without data it is a record alone. */
  image(properties?: Fields, data?: Uint8Array | 'none'): Promise<string>;
  imageStatus(id: string): Promise<number>;
}

/** To be called at the top of a file of tests; each test has a bench of its own. */
export function imageServices(): () => Promise<ImageBench> {
  const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle() ?? PrivateGlance.obstacle();
  const directory = mkdtempSync(join(tmpdir(), 'node-compute-agent-images-'));
  const within = (name: string): string => {
    mkdirSync(join(directory, name));
    return join(directory, name);
  };
  let placement: PrivatePlacement;
  let glance: PrivateGlance;
  let rabbitmq: PrivateRabbitmq;
  let count = 0;

  beforeAll(async () => {
    if (obstacle) return;
    rabbitmq = await PrivateRabbitmq.start(within('broker'));
    placement = await PrivatePlacement.start(within('placement'));
    glance = await PrivateGlance.start(within('glance'));
  });

  beforeEach(async ({ skip }) => {
    skip(obstacle !== undefined, obstacle);
    count += 1;
  });

  afterAll(async () => {
    await glance?.stop();
    await rabbitmq?.stop();
    await placement?.stop();
    rmSync(directory, { recursive: true });
  });

  return async () => {
    const { conductor, client } = await controlPlane(rabbitmq.url, join(directory, `conductor-${count}`));
    const path = within(`node-${count}`);
    const host = { hostname: `host-${count}`, vcpus: 4, memoryMb: 4096, localGb: 50 };
    const hypervisor = new FakeHypervisor(host);
    const faults = new Faults();

    const bench: ImageBench = {
      conductor,
      hypervisor,
      faults,
      async open(options = {}) {
        const agent = await ComputeAgent.open({
          broker: { url: rabbitmq.url },
          placement: { endpoint: placement.url, auth: { type: 'token', token: placement.token } },
          host: HOST,
          reportIntervalMs: 200,
          node: {
            driver: 'fake.FakeDriver',
            driverOptions: { hypervisor, faults, images: { glance: { endpoints: [glance.url] } } },
            instancesPath: join(path, 'instances'),
          },
          ...options,
        });
        onTestFinished(() => agent.close());
        return agent;
      },
      allocate: (agent, uuid) => allocate(placement, agent, uuid),
      allocations: (uuid) => allocations(placement, uuid),
      async released(uuid) {
        await vi.waitFor(async () => expect(await bench.allocations(uuid)).toEqual({}), WAIT);
      },
      async server(agent) {
        const { instance } = request('boot-warm').args;
        const uuid = `00000000-0000-4000-8000-${String(count).padStart(12, '0')}`;
        instance.set('uuid', uuid);
        instance.set('system_metadata', { image_base_image_ref: 'kept' });
        conductor.instances.set(uuid, copyOf(instance));
        await bench.allocate(agent, uuid);
        await agent.node.launch({
          uuid,
          name: 'server',
          flavor: { vcpus: 1, memoryMb: 64, rootGb: 1 },
          image: {
            id: '11111111-2222-4333-8444-555555555555',
            diskFormat: 'qcow2',
            source: { type: 'glance' },
          },
        });
        conductor.asked(uuid, { vm_state: 'active', task_state: null, power_state: 1, host: HOST });
        return uuid;
      },
      async ask(uuid, method, fields, args = {}) {
        const instance = conductor.asked(uuid, fields);
        conductor.written.length = 0;
        await client.cast(TARGET, method, { instance, ...args });
      },
      async done(uuid, method, fields, args) {
        const before = conductor.finished(`compute_${method}`).length;
        await bench.ask(uuid, method, fields, args);
        await vi.waitFor(() => {
          expect(conductor.finished(`compute_${method}`)).toHaveLength(before + 1);
        }, WAIT);
      },
      async taken(uuid, method, fields, args = {}) {
        const sent = { method, args: { instance: conductor.asked(uuid, fields), ...args } };
        await leave(join(path, 'commands'), sent, `taken-${conductor.events.length}`);
        conductor.written.length = 0;
      },
      image: (properties = {}, data = Buffer.alloc(512)) => {
        const record = { disk_format: 'raw', container_format: 'bare', ...properties };
        return glance.add(record, data === 'none' ? undefined : data);
      },
      imageStatus: async (id) => (await fetch(`${glance.url}/v2/images/${id}`)).status,
    };
    return bench;
  };
}
