// An agent that can be opened again, with a real broker, Placement and Glance; a hypervisor and a conductor in memory.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, vi } from 'vitest';
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { FileCommandJournal } from '../../src/agent/command-journal.js';
import { ownContext } from '../../src/agent/context.js';
import { encodeRequest } from '../../src/agent/envelope.js';
import { decodeValue, encodeValue, type NovaObject } from '../../src/agent/nova-object.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { ComputeAgent, type ComputeAgentOptions, FakeHypervisor, Faults } from '../../src/index.js';
import { FakeConductor } from './fake-conductor.js';
import { rows } from './traces.js';

type Fields = Readonly<Record<string, unknown>>;

export const HOST = 'rig-compute';
export const WAIT = { timeout: 30_000, interval: 20 };
const VERSION = '6.0';

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
    placement = await PrivatePlacement.start(within('placement'));
    glance = await PrivateGlance.start(within('glance'));
  });

  beforeEach(async ({ skip }) => {
    skip(obstacle !== undefined, obstacle);
    rabbitmq = await PrivateRabbitmq.start(within(`broker-${++count}`));
    onTestFinished(() => rabbitmq.stop());
  });

  afterAll(async () => {
    await glance?.stop();
    await placement?.stop();
    rmSync(directory, { recursive: true });
  });

  return async () => {
    const broker = new AmqpBroker({ url: rabbitmq.url });
    const conductor = new FakeConductor();
    await conductor.open(broker, join(directory, `conductor-${count}`));
    const client = await RpcClient.open(broker, { context: ownContext() });
    onTestFinished(async () => {
      await client.close();
      await conductor.close();
      await broker.close();
    });
    const path = within(`node-${count}`);
    const host = { hostname: `host-${count}`, vcpus: 4, memoryMb: 4096, localGb: 50 };
    const hypervisor = new FakeHypervisor(host);
    const faults = new Faults();

    /** The instance as it is sent with a command. */
    const asked = (uuid: string, fields: Fields): NovaObject => {
      const stored = conductor.instance(uuid);
      for (const [field, value] of Object.entries(fields)) stored.set(field, value);
      const sent = decodeValue(encodeValue(stored)) as NovaObject;
      // It was saved.
      sent.merge({});
      return sent;
    };

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
      async allocate(agent, uuid) {
        const { nodeUuid } = agent.reporter.report;
        await vi.waitFor(
          () => expect(agent.reporter.sinks.map(({ sequence }) => sequence)).not.toContain(undefined),
          WAIT,
        );
        await placement.call('PUT', `/allocations/${uuid}`, {
          allocations: { [nodeUuid]: { resources: { VCPU: 1, MEMORY_MB: 64, DISK_GB: 1 } } },
          project_id: 'demo',
          user_id: 'admin',
          consumer_generation: null,
          consumer_type: 'INSTANCE',
        });
      },
      async allocations(uuid) {
        return ((await placement.call('GET', `/allocations/${uuid}`)) as { allocations: object }).allocations;
      },
      async released(uuid) {
        await vi.waitFor(async () => expect(await bench.allocations(uuid)).toEqual({}), WAIT);
      },
      async server(agent) {
        const { instance } = sample();
        const uuid = `00000000-0000-4000-8000-${String(count).padStart(12, '0')}`;
        instance.set('uuid', uuid);
        instance.set('system_metadata', { image_base_image_ref: 'kept' });
        conductor.instances.set(uuid, decodeValue(encodeValue(instance)) as NovaObject);
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
        asked(uuid, { vm_state: 'active', task_state: null, power_state: 1, host: HOST });
        return uuid;
      },
      async ask(uuid, method, fields, args = {}) {
        const instance = asked(uuid, fields);
        conductor.written.length = 0;
        await client.cast({ topic: 'compute', server: HOST, version: VERSION }, method, {
          instance,
          ...args,
        });
      },
      async done(uuid, method, fields, args) {
        const before = conductor.finished(`compute_${method}`).length;
        await bench.ask(uuid, method, fields, args);
        await vi.waitFor(() => {
          expect(conductor.finished(`compute_${method}`)).toHaveLength(before + 1);
        }, WAIT);
      },
      async taken(uuid, method, fields, args = {}) {
        const id = `taken-${conductor.events.length}`;
        const body = encodeRequest({
          method,
          namespace: undefined,
          version: VERSION,
          args: encodeValue({ instance: asked(uuid, fields), ...args }) as Record<string, unknown>,
          context: ownContext(),
          uniqueId: id,
          answerTo: undefined,
        });
        const journal = await FileCommandJournal.open(join(path, 'commands'));
        await journal.record(id, body);
        await journal.begin(id);
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

function sample(): { readonly instance: NovaObject } {
  const row = rows('libvirt').find(({ kind, operation }) => kind === 'in' && operation === 'boot-warm');
  return decodeValue(row?.args) as { readonly instance: NovaObject };
}
