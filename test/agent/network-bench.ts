// An agent with networks: a real broker, Placement and Neutron, a hypervisor and a conductor in memory.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, vi } from 'vitest';
import { PrivateNeutron } from '../../scripts/private-neutron.mjs';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { ownContext } from '../../src/agent/context.js';
import type { CachedVif } from '../../src/agent/neutron/network-info.js';
import type { NeutronOptions } from '../../src/agent/neutron/neutron.js';
import type { Port } from '../../src/agent/neutron/resources.js';
import { decodeValue, encodeValue, NovaObject } from '../../src/agent/nova-object.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { ComputeAgent, FakeHypervisor } from '../../src/index.js';
import { FakeConductor } from './fake-conductor.js';
import { NeutronProxy } from './neutron-proxy.js';
import { type Row, rows } from './traces.js';

export const HOST = 'rig-compute';
export const BUILD = 'compute__do_build_and_run_instance';
export const WAIT = { timeout: 30_000, interval: 20 };

export type Arguments = Record<string, unknown> & { readonly instance: NovaObject };

const trace = rows('libvirt');

/** What the stock host was sent. */
export function request(operation: string): { readonly method: string; readonly args: Arguments } {
  const row = trace.find((one) => one.kind === 'in' && one.operation === operation) as Row;
  return { method: row.method, args: decodeValue(row.args) as Arguments };
}

export const UUID = String(request('boot-warm').args.instance.get('uuid'));
export const PROJECT = String(request('boot-warm').args.instance.get('project_id'));

export interface NetworkBench {
  readonly conductor: FakeConductor;
  readonly client: RpcClient;
  readonly hypervisor: FakeHypervisor;
  readonly proxy: NeutronProxy;
  readonly path: string;
  readonly open: (network?: NeutronOptions) => Promise<ComputeAgent>;
}

interface Services {
  readonly neutron: PrivateNeutron;
  /** A project has an empty Neutron at the begin of each test, but for its default security group. */
  bench(): Promise<NetworkBench>;
  /** As the scheduler and the API do before they send a server to a host. */
  prepare(bench: NetworkBench, agent: ComputeAgent, args: Arguments): Promise<void>;
  /** Sends a build, and waits for nothing. */
  build(
    bench: NetworkBench,
    agent: ComputeAgent,
    networks: readonly object[],
    groups?: string[],
  ): Promise<void>;
  network(fields?: object, subnet?: object): Promise<string>;
  port(fields: object): Promise<Port>;
  ports(uuid?: string): Promise<readonly Port[]>;
}

/** To be called at the top of a file of tests. */
export function networkServices(): Services {
  const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle() ?? PrivateNeutron.obstacle();
  const directory = mkdtempSync(join(tmpdir(), 'node-compute-network-'));
  let rabbitmq: PrivateRabbitmq;
  let placement: PrivatePlacement;
  let neutron: PrivateNeutron;
  let count = 0;

  const inside = (name: string): string => {
    const path = join(directory, name);
    mkdirSync(path);
    return path;
  };

  beforeAll(async () => {
    if (obstacle) return;
    placement = await PrivatePlacement.start(inside('placement'));
    neutron = await PrivateNeutron.start(inside('neutron'), { [HOST]: 'bridge' });
  });

  beforeEach(async ({ skip }) => {
    skip(obstacle !== undefined, obstacle);
    rabbitmq = await PrivateRabbitmq.start(inside(`broker-${++count}`));
    onTestFinished(() => rabbitmq.stop());
    for (const [resource, key] of [
      ['ports', 'ports'],
      ['networks', 'networks'],
    ] as const) {
      const all = (await neutron.call('GET', `/${resource}`)) as Record<string, { id: string }[]>;
      for (const { id } of all[key] ?? []) await neutron.call('DELETE', `/${resource}/${id}`);
    }
    await neutron.call('DELETE', `/quotas/${PROJECT}`).catch(() => undefined);
  });

  afterAll(async () => {
    await placement?.stop();
    await neutron?.stop();
    rmSync(directory, { recursive: true });
  });

  const services: Services = {
    get neutron() {
      return neutron;
    },

    async bench() {
      const broker = new AmqpBroker({ url: rabbitmq.url });
      const conductor = new FakeConductor();
      await conductor.open(broker, join(directory, `conductor-${count}`));
      const client = await RpcClient.open(broker, { context: ownContext() });
      const proxy = await NeutronProxy.start(neutron.url);
      onTestFinished(async () => {
        await client.close();
        await conductor.close();
        await broker.close();
        await proxy.stop();
      });
      const hypervisor = new FakeHypervisor({
        hostname: `host-${count}`,
        vcpus: 4,
        memoryMb: 4096,
        localGb: 50,
      });
      const path = inside(`node-${count}`);
      const open = async (network: NeutronOptions = {}): Promise<ComputeAgent> => {
        const agent = await ComputeAgent.open({
          broker: { url: rabbitmq.url },
          placement: { endpoint: placement.url, auth: { type: 'token', token: placement.token } },
          network: { endpoint: proxy.url, ...network },
          host: HOST,
          node: {
            driver: 'fake.FakeDriver',
            driverOptions: { hypervisor },
            instancesPath: join(path, 'instances'),
          },
        });
        onTestFinished(() => agent.close({ graceMs: 0 }));
        return agent;
      };
      return { conductor, client, hypervisor, proxy, path, open };
    },

    async prepare({ conductor }, agent, { instance }) {
      const uuid = String(instance.get('uuid'));
      conductor.instances.set(uuid, decodeValue(encodeValue(instance)) as NovaObject);
      conductor.written.length = 0;
      const { nodeUuid } = agent.reporter.report;
      await vi.waitFor(
        () => expect(agent.reporter.sinks.map(({ sequence }) => sequence)).not.toContain(undefined),
        WAIT,
      );
      await placement.call('DELETE', `/allocations/${uuid}`).catch(() => undefined);
      await placement.call('PUT', `/allocations/${uuid}`, {
        allocations: { [nodeUuid]: { resources: { VCPU: 1, MEMORY_MB: 64, DISK_GB: 1 } } },
        project_id: PROJECT,
        user_id: 'admin',
        consumer_generation: null,
        consumer_type: 'INSTANCE',
      });
    },

    async build(bench, agent, networks, groups = ['default']) {
      const { method, args } = request('boot-warm');
      args['requested_networks'] = networkRequests(networks);
      args['security_groups'] = groups;
      await services.prepare(bench, agent, args);
      await bench.client.cast({ topic: 'compute', server: HOST, version: '6.0' }, method, args);
    },

    async network(fields = {}, subnet = { cidr: '10.9.0.0/24', dns_nameservers: ['10.9.0.53'] }) {
      const network = { name: 'net', tenant_id: PROJECT, ...fields };
      const { id } = ((await neutron.call('POST', '/networks', { network })) as { network: { id: string } })
        .network;
      await neutron.call('POST', '/subnets', {
        subnet: { network_id: id, ip_version: 4, tenant_id: PROJECT, ...subnet },
      });
      return id;
    },

    async port(fields) {
      const port = { tenant_id: PROJECT, ...fields };
      return ((await neutron.call('POST', '/ports', { port })) as { port: Port }).port;
    },

    async ports(uuid = UUID) {
      return ((await neutron.call('GET', `/ports?device_id=${uuid}`)) as { ports: Port[] }).ports;
    },
  };
  return services;
}

export function networkRequests(requests: readonly object[]): NovaObject {
  const version = '1.3';
  const objects = requests.map((fields) =>
    NovaObject.create({ name: 'NetworkRequest', version, fields: { ...fields } }),
  );
  return NovaObject.create({ name: 'NetworkRequestList', version: '1.1', fields: { objects } });
}

/** As Nova's API sends what Neutron told it. */
export async function tell(
  { client, conductor }: NetworkBench,
  name: string,
  tag: string,
  status = 'completed',
): Promise<void> {
  const fields = { instance_uuid: UUID, name, status, tag, data: '{}' };
  const event = NovaObject.create({ name: 'InstanceExternalEvent', version: '1.5', fields });
  const args = { instances: [conductor.instance(UUID)], events: [event] };
  await client.cast({ topic: 'compute', server: HOST, version: '6.0' }, 'external_instance_event', args);
}

export function infoCache({ conductor }: NetworkBench): readonly CachedVif[] {
  return JSON.parse(conductor.infoCaches.get(UUID) ?? '[]');
}

/** Task states of the instance, each with those in which it was expected. */
export function taskStates({ conductor }: NetworkBench): unknown[] {
  return conductor.written.flatMap(({ object, fields, expected }) =>
    object === 'Instance' && 'task_state' in fields ? [[fields['task_state'], expected]] : [],
  );
}
