// An agent with networks: a real broker, Placement and Neutron, a hypervisor and a conductor in memory.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, onTestFinished } from 'vitest';
import { PrivateNeutron } from '../../scripts/private-neutron.mjs';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import type { CachedVif } from '../../src/agent/neutron/network-info.js';
import type { NeutronOptions } from '../../src/agent/neutron/neutron.js';
import type { Port } from '../../src/agent/neutron/resources.js';
import { NovaObject } from '../../src/agent/nova-object.js';
import { ComputeAgent, type ComputeAgentOptions, FakeHypervisor } from '../../src/index.js';
import { allocate } from './allocations.js';
import { type ControlPlane, controlPlane } from './control-plane.js';
import { NeutronProxy } from './neutron-proxy.js';
import { type Arguments, copyOf, HOST, request, TARGET, UUID } from './sent.js';

export const PROJECT = String(request('boot-warm').args.instance.get('project_id'));

export interface NetworkBench extends ControlPlane {
  readonly hypervisor: FakeHypervisor;
  readonly proxy: NeutronProxy;
  readonly path: string;
  readonly open: (network?: NeutronOptions, options?: Partial<ComputeAgentOptions>) => Promise<ComputeAgent>;
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
    rabbitmq = await PrivateRabbitmq.start(inside('broker'));
    placement = await PrivatePlacement.start(inside('placement'));
    neutron = await PrivateNeutron.start(inside('neutron'), { [HOST]: 'bridge' });
  });

  beforeEach(async ({ skip }) => {
    skip(obstacle !== undefined, obstacle);
    count += 1;
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
    await rabbitmq?.stop();
    await placement?.stop();
    await neutron?.stop();
    rmSync(directory, { recursive: true });
  });

  const services: Services = {
    get neutron() {
      return neutron;
    },

    async bench() {
      const { conductor, client } = await controlPlane(rabbitmq.url, join(directory, `conductor-${count}`));
      const proxy = await NeutronProxy.start(neutron.url);
      onTestFinished(() => proxy.stop());
      const hypervisor = new FakeHypervisor({
        hostname: `host-${count}`,
        vcpus: 4,
        memoryMb: 4096,
        localGb: 50,
      });
      const path = inside(`node-${count}`);
      const open: NetworkBench['open'] = async (network = {}, options = {}) => {
        const agent = await ComputeAgent.open({
          broker: { url: rabbitmq.url },
          placement: { endpoint: placement.url, auth: { type: 'token', token: placement.token } },
          network: { endpoint: proxy.url, ...network },
          host: HOST,
          node: {
            driver: 'fake.FakeDriver',
            driverOptions: { hypervisor, files: true },
            instancesPath: join(path, 'instances'),
          },
          ...options,
        });
        onTestFinished(() => agent.close({ graceMs: 0 }));
        return agent;
      };
      return { conductor, client, hypervisor, proxy, path, open };
    },

    async prepare({ conductor }, agent, { instance }) {
      const uuid = String(instance.get('uuid'));
      conductor.instances.set(uuid, copyOf(instance));
      conductor.written.length = 0;
      await allocate(placement, agent, uuid);
    },

    async build(bench, agent, networks, groups = ['default']) {
      const { method, args } = request('boot-warm');
      args['requested_networks'] = networkRequests(networks);
      args['security_groups'] = groups;
      await services.prepare(bench, agent, args);
      await bench.client.cast(TARGET, method, args);
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
  await client.cast(TARGET, 'external_instance_event', args);
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
