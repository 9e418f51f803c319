// Servers with networks: their ports in a real Neutron, from the build to the end, and through what goes wrong.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { ComputeAgent } from '../../src/index.js';
import {
  infoCache,
  type NetworkBench,
  networkRequests,
  networkServices,
  PROJECT,
  taskStates,
  tell,
} from '../agent/network-bench.js';
import { BUILD, HOST, leave, request, TARGET, UUID, WAIT } from '../agent/sent.js';

const services = networkServices();
/** Nothing waits for a port to be plugged in. */
const UNWAITED = { vifPluggingTimeoutMs: 0 };

async function finished({ conductor }: NetworkBench, event: string, count = 1): Promise<unknown> {
  await vi.waitFor(() => expect(conductor.finished(event)).toHaveLength(count), WAIT);
  return conductor.finished(event).at(-1)?.failure;
}

async function built(bench: NetworkBench, agent: ComputeAgent, networks: readonly object[]): Promise<void> {
  const before = bench.conductor.finished(BUILD).length;
  await services.build(bench, agent, networks);
  expect(await finished(bench, BUILD, before + 1)).toBeUndefined();
}

async function terminated(bench: NetworkBench): Promise<void> {
  const { method, args } = request('terminate');
  const before = bench.conductor.finished('compute_terminate_instance').length;
  args.instance.set('uuid', UUID);
  await bench.client.cast(TARGET, method, args);
  await finished(bench, 'compute_terminate_instance', before + 1);
}

describe('a build with networks', () => {
  it('makes a port, waits until it is plugged in, and deletes it in the end', async () => {
    const bench = await services.bench();
    const agent = await bench.open();
    const networkId = await services.network();
    await services.build(bench, agent, [{ network_id: networkId, address: '10.9.0.77' }]);
    const state = async (): Promise<string> => (await agent.node.get(UUID)).powerState;
    await vi.waitFor(async () => expect(await state()).toBe('paused'), WAIT);

    const [port] = await services.ports();
    expect(port).toMatchObject({
      network_id: networkId,
      device_owner: 'compute:nova',
      'binding:host_id': HOST,
      'binding:vif_type': 'bridge',
      dns_name: 't2',
      fixed_ips: [{ ip_address: '10.9.0.77' }],
    });
    const { id = '', mac_address: mac } = port ?? {};
    expect(infoCache(bench)).toMatchObject([
      {
        id,
        address: mac,
        type: 'bridge',
        active: false,
        preserve_on_delete: false,
        devname: `tap${id.slice(0, 11)}`,
        network: {
          id: networkId,
          bridge: `brq${networkId.slice(0, 11)}`,
          label: 'net',
          meta: { mtu: 1450, tunneled: true, should_create_bridge: true },
          subnets: [
            {
              cidr: '10.9.0.0/24',
              version: 4,
              gateway: { address: '10.9.0.1', type: 'gateway', version: 4 },
              dns: [{ address: '10.9.0.53', type: 'dns' }],
              ips: [{ address: '10.9.0.77', type: 'fixed', version: 4, floating_ips: [] }],
              meta: { dhcp_server: '10.9.0.1' },
            },
          ],
        },
      },
    ]);
    expect(bench.hypervisor.domains.get(UUID)?.instance.vifs).toEqual([
      {
        id,
        mac,
        bridge: `brq${networkId.slice(0, 11)}`,
        tap: `tap${id.slice(0, 11)}`,
        mtu: 1450,
        dnsServers: ['10.9.0.53'],
      },
    ]);
    await tell(bench, 'network-vif-plugged', id);
    expect(await finished(bench, BUILD)).toBeUndefined();
    expect(await state()).toBe('running');
    expect(taskStates(bench)).toEqual([
      [null, ['scheduling', null]],
      ['networking', [null]],
      ['block_device_mapping', ['networking']],
      ['spawning', ['block_device_mapping']],
      [null, ['spawning']],
    ]);

    await terminated(bench);
    expect(await services.ports()).toEqual([]);
    expect(infoCache(bench)).toEqual([]);
  });

  it('binds the port that its user gave, and gives it back', async () => {
    const bench = await services.bench();
    const agent = await bench.open(UNWAITED);
    const networkId = await services.network();
    const { id } = await services.port({ network_id: networkId });
    await built(bench, agent, [{ port_id: id }, { network_id: networkId }]);
    expect(infoCache(bench).map((vif) => [vif.preserve_on_delete, vif.id === id])).toEqual([
      [true, true],
      [false, false],
    ]);
    expect(await services.ports()).toHaveLength(2);
    await terminated(bench);
    expect(await services.ports()).toEqual([]);
    expect((await services.ports('')).find((port) => port.id === id)).toMatchObject({
      device_owner: '',
      'binding:host_id': '',
    });
  });

  it('takes the one network of a project that names none', async () => {
    const bench = await services.bench();
    const agent = await bench.open(UNWAITED);
    await built(bench, agent, []);
    expect(await services.ports()).toEqual([]);
    await terminated(bench);
    const networkId = await services.network();
    await built(bench, agent, []);
    expect((await services.ports()).map((port) => port.network_id)).toEqual([networkId]);
    await terminated(bench);
    await services.network({ name: 'second' });
    await services.build(bench, agent, [{ network_id: 'auto' }]);
    expect(await finished(bench, BUILD, 3)).toContain('several networks');
    expect(await services.ports()).toEqual([]);
  });

  it('finds by itself that a port is plugged in, where the event was lost', async () => {
    const bench = await services.bench();
    const agent = await bench.open();
    const networkId = await services.network();
    await services.build(bench, agent, [{ network_id: networkId }]);
    await vi.waitFor(async () => expect((await agent.node.get(UUID)).powerState).toBe('paused'), WAIT);
    const [port] = await services.ports();
    await services.neutron.plug(port?.id ?? '');
    expect(await finished(bench, BUILD)).toBeUndefined();
    expect((await agent.node.get(UUID)).powerState).toBe('running');
  });

  it('makes no second port where the answer was lost, and waits for a Neutron that is away', async () => {
    const bench = await services.bench();
    const agent = await bench.open(UNWAITED);
    const networkId = await services.network();
    bench.proxy.mishaps.push(
      { method: 'GET', mishap: 'away' },
      { method: 'POST', mishap: 'answer-lost' },
      { method: 'POST', mishap: 'away' },
    );
    await built(bench, agent, [{ network_id: networkId }, { network_id: networkId }]);
    expect(bench.proxy.mishaps).toEqual([]);
    expect(await services.ports()).toHaveLength(2);
    expect(infoCache(bench)).toHaveLength(2);
    bench.proxy.mishaps.push({ method: 'DELETE', mishap: 'answer-lost' });
    await terminated(bench);
    expect(await services.ports()).toEqual([]);
  });

  it('that a process which died had begun takes the ports that are there', async () => {
    const bench = await services.bench();
    const first = await bench.open();
    const networkId = await services.network();
    const given = await services.port({ network_id: networkId });
    const { method, args } = request('boot-warm');
    args['requested_networks'] = networkRequests([{ network_id: networkId }, { port_id: given.id }]);
    await services.prepare(bench, first, args);
    await first.close();
    const made = await services.port({
      network_id: networkId,
      device_id: UUID,
      device_owner: 'compute:nova',
    });
    bench.conductor.instance(UUID).set('host', HOST);
    bench.conductor.instance(UUID).set('vm_state', 'building');
    bench.conductor.instance(UUID).set('task_state', 'networking');
    await leave(join(bench.path, 'commands'), { method, args }, 'taken');

    await bench.open(UNWAITED);
    expect(await finished(bench, BUILD)).toBeUndefined();
    expect(infoCache(bench).map(({ id }) => id)).toEqual([made.id, given.id]);
    expect(bench.proxy.seen.filter((one) => one.startsWith('POST'))).toEqual([]);
    await vi.waitFor(() => expect(readdirSync(join(bench.path, 'commands', 'commands'))).toEqual([]), WAIT);
  });

  it('that a process which died had done, and not told, takes the guest with its ports', async () => {
    const bench = await services.bench();
    const first = await bench.open(UNWAITED);
    const networkId = await services.network();
    await built(bench, first, [{ network_id: networkId }]);
    await first.close();
    const [own] = infoCache(bench);
    const stored = { host: HOST, vm_state: 'building', task_state: 'spawning' };
    const { method, args } = request('boot-warm');
    args['requested_networks'] = networkRequests([{ network_id: networkId }]);
    const sent = { method, args: { ...args, instance: bench.conductor.asked(UUID, stored) } };
    await leave(join(bench.path, 'commands'), sent, 'taken');

    const second = await bench.open(UNWAITED);
    expect(await finished(bench, BUILD, 2)).toBeUndefined();
    expect((await second.node.get(UUID)).macs).toEqual([own?.address]);
    expect((await services.ports()).map(({ id }) => id)).toEqual([own?.id]);
  });
});

it('a server that is deleted while it waits for its ports leaves none', async () => {
  const bench = await services.bench();
  const agent = await bench.open();
  const networkId = await services.network();
  const { id } = await services.port({ network_id: networkId });
  await services.build(bench, agent, [{ network_id: networkId }, { port_id: id }]);
  await vi.waitFor(async () => expect((await agent.node.get(UUID)).powerState).toBe('paused'), WAIT);
  bench.conductor.instance(UUID).set('task_state', 'deleting');
  await terminated(bench);
  await finished(bench, BUILD);
  expect(await agent.node.list()).toEqual([]);
  expect(await services.ports()).toEqual([]);
  expect((await services.ports('')).map((port) => port.id)).toEqual([id]);
  expect(bench.conductor.instances.has(UUID)).toBe(false);
});

describe('a build whose networks fail', () => {
  async function failed(
    bench: NetworkBench,
    agent: ComputeAgent,
    networks: readonly object[],
    groups?: string[],
  ): Promise<unknown> {
    const before = bench.conductor.finished(BUILD).length;
    await services.build(bench, agent, networks, groups);
    const failure = await finished(bench, BUILD, before + 1);
    expect(await services.ports()).toEqual([]);
    expect(await agent.node.list()).toEqual([]);
    expect(infoCache(bench)).toEqual([]);
    return failure;
  }

  it('ends in ERROR and leaves no port where Neutron says no', async () => {
    const bench = await services.bench();
    const agent = await bench.open(UNWAITED);
    const networkId = await services.network();
    const { id } = await services.port({ network_id: networkId });
    await services.neutron.call('PUT', `/quotas/${PROJECT}`, { quota: { port: 1 } });
    const networks = [{ port_id: id }, { network_id: networkId }];
    expect(await failed(bench, agent, networks)).toContain('Quota exceeded');
    expect(bench.conductor.instance(UUID).get('vm_state')).toBe('error');
    const fault = bench.conductor.written.find(({ object }) => object === 'InstanceFault');
    expect(JSON.parse(String(fault?.fields['details']))).toMatchObject({
      code: 'NEUTRON_FAILED',
      details: { type: 'OverQuota', status: 409 },
    });
    expect((await services.ports('')).map((port) => port.id)).toEqual([id]);

    await services.neutron.call('DELETE', `/quotas/${PROJECT}`);
    const outside = [{ network_id: networkId, address: '192.0.2.1' }];
    expect(await failed(bench, agent, outside)).toContain('is not a valid IP');
    const absent = 'a6a1f3a4-0000-4000-8000-000000000000';
    expect(await failed(bench, agent, [{ network_id: absent }])).toContain('no network');
    expect(await failed(bench, agent, [{ port_id: absent }])).toContain('no port');
    expect(await failed(bench, agent, [{ network_id: '../ports' }])).toContain('by the uuid');
    expect(await failed(bench, agent, [{ network_id: networkId, tag: 'nic' }])).toContain('tag');
    expect(await failed(bench, agent, [{ network_id: networkId }], ['nobody'])).toContain(
      'security group nobody',
    );
  });

  it('takes no port of another server, nor of another project', async () => {
    const bench = await services.bench();
    const agent = await bench.open(UNWAITED);
    const networkId = await services.network();
    const used = await services.port({ network_id: networkId, device_id: 'another-server' });
    const foreign = await services.port({ network_id: networkId, tenant_id: 'others' });
    expect(await failed(bench, agent, [{ port_id: used.id }])).toContain('is in use');
    expect(await failed(bench, agent, [{ port_id: foreign.id }])).toContain('another project');
    expect((await services.ports('another-server')).map(({ id }) => id)).toEqual([used.id]);
    expect((await services.ports('')).map(({ id }) => id)).toEqual([foreign.id]);
  });

  it('goes to another host where this one cannot have the port', async () => {
    const bench = await services.bench();
    const agent = await bench.open(UNWAITED);
    const networkId = await services.network();
    const { id } = await services.port({ network_id: networkId, 'binding:vnic_type': 'direct' });
    const failure = await failed(bench, agent, [{ network_id: networkId }, { port_id: id }]);
    expect(failure).toContain('binding_failed');
    await vi.waitFor(() => expect(bench.conductor.rescheduled).toHaveLength(1), WAIT);
    expect((await services.ports('')).map((port) => port.id)).toEqual([id]);
  });

  it('ends where a port is not plugged in, unless that is no matter', async () => {
    const bench = await services.bench();
    const agent = await bench.open();
    const networkId = await services.network();
    await services.build(bench, agent, [{ network_id: networkId }]);
    await vi.waitFor(async () => expect((await agent.node.get(UUID)).powerState).toBe('paused'), WAIT);
    await tell(bench, 'network-vif-plugged', infoCache(bench)[0]?.id ?? '', 'failed');
    expect(await finished(bench, BUILD)).toContain('could not plug in');
    expect(bench.conductor.instance(UUID).get('vm_state')).toBe('error');
    expect(await agent.node.list()).toEqual([]);
    expect(await services.ports()).toEqual([]);
    await agent.close();

    const hasty = await bench.open({ vifPluggingTimeoutMs: 1 });
    expect(await failed(bench, hasty, [{ network_id: networkId }])).toContain('did not say in time');
    await hasty.close();
    const lenient = await bench.open({ vifPluggingTimeoutMs: 1, vifPluggingIsFatal: false });
    await built(bench, lenient, [{ network_id: networkId }]);
    expect((await lenient.node.get(UUID)).powerState).toBe('running');
  });
});

describe('an instance that stands', () => {
  async function standing(): Promise<{ bench: NetworkBench; agent: ComputeAgent; networkId: string }> {
    const bench = await services.bench();
    const agent = await bench.open(UNWAITED);
    const networkId = await services.network();
    await built(bench, agent, [{ network_id: networkId }]);
    return { bench, agent, networkId };
  }

  const attach = async ({ client, conductor }: NetworkBench, fields: object): Promise<unknown> =>
    await client.call(TARGET, 'attach_interface', {
      instance: conductor.instance(UUID),
      network_id: null,
      port_id: null,
      requested_ip: null,
      tag: null,
      ...fields,
    });
  const detach = async ({ client, conductor }: NetworkBench, portId: string): Promise<void> =>
    await client.cast(TARGET, 'detach_interface', {
      instance: conductor.instance(UUID),
      port_id: portId,
    });
  const macs = async (agent: ComputeAgent): Promise<unknown> => (await agent.node.get(UUID)).macs;

  it('gets one more interface, and loses it', async () => {
    const { bench, agent, networkId } = await standing();
    const [own] = infoCache(bench);
    const made = await attach(bench, { network_id: networkId });
    const { id } = await services.port({ network_id: networkId });
    const given = await attach(bench, { port_id: id });
    expect(given).toMatchObject({ id, preserve_on_delete: true, network: { id: networkId } });
    expect(infoCache(bench)).toEqual([own, made, given]);
    expect(await macs(agent)).toEqual(infoCache(bench).map((vif) => vif.address));
    expect(bench.conductor.finished('compute_attach_interface')).toHaveLength(2);

    await detach(bench, id);
    expect(await finished(bench, 'compute_detach_interface')).toBeUndefined();
    await detach(bench, (made as { id: string }).id);
    expect(await finished(bench, 'compute_detach_interface', 2)).toBeUndefined();
    expect(infoCache(bench)).toEqual([own]);
    expect(await macs(agent)).toEqual([own?.address]);
    expect((await services.ports()).map((port) => port.id)).toEqual([own?.id]);
    expect((await services.ports('')).map((port) => port.id)).toEqual([id]);

    await detach(bench, id);
    expect(await finished(bench, 'compute_detach_interface', 3)).toContain('has no port');
  });

  it('keeps what it has where an attachment fails, of which the API is told in its own exceptions', async () => {
    const { bench, agent, networkId } = await standing();
    const [own] = infoCache(bench);
    const failure = async (fields: object): Promise<unknown> =>
      await attach(bench, fields).then(
        () => undefined,
        (error) => error.remote.class,
      );
    const foreign = await services.port({ network_id: networkId, tenant_id: 'others' });
    const direct = await services.port({ network_id: networkId, 'binding:vnic_type': 'direct' });
    // The node refuses it, when all is made.
    const twin = await services.port({
      network_id: await services.network({ name: 'second' }),
      mac_address: own?.address,
    });
    expect(await failure({ port_id: twin.id })).toBe('InterfaceAttachFailed');
    expect(infoCache(bench)).toEqual([own]);
    expect(await failure({ port_id: foreign.id })).toBe('PortNotUsable');
    expect(await failure({ port_id: own?.id })).toBe('PortInUse');
    expect(await failure({ port_id: direct.id })).toBe('InterfaceAttachFailed');
    expect(await failure({ network_id: networkId, requested_ip: '192.0.2.1' })).toBe('InvalidInput');
    await services.neutron.call('PUT', `/quotas/${PROJECT}`, { quota: { port: 1 } });
    expect(await failure({ network_id: networkId })).toBe('PortLimitExceeded');
    // Of an instance that is not here.
    const elsewhere = request('stop').args.instance;
    elsewhere.set('uuid', 'a6a1f3a4-0000-4000-8000-000000000000');
    expect(await failure({ network_id: networkId, instance: elsewhere })).toBe('InstanceNotFound');
    expect(infoCache(bench)).toEqual([own]);
    expect(await macs(agent)).toEqual([own?.address]);
    expect((await services.ports()).map((port) => port.id)).toEqual([own?.id]);
    const free = (await services.ports('')).map((port) => port.id);
    expect(new Set(free)).toEqual(new Set([twin.id, foreign.id, direct.id]));
  });

  it('follows what Neutron tells of its ports, and takes nobody at his word', async () => {
    const { bench, agent, networkId } = await standing();
    const [own] = infoCache(bench);
    const portId = own?.id ?? '';
    const fields = { fixed_ips: [{ ip_address: '10.9.0.99' }] };
    await services.neutron.call('PUT', `/ports/${portId}`, { port: fields });
    await tell(bench, 'network-changed', portId);
    await vi.waitFor(() => expect(JSON.stringify(infoCache(bench))).toContain('10.9.0.99'), WAIT);

    const other = (await attach(bench, { network_id: networkId })) as { id: string };
    await tell(bench, 'network-vif-deleted', portId);
    await services.neutron.call('DELETE', `/ports/${other.id}`);
    await tell(bench, 'network-vif-deleted', other.id);
    await vi.waitFor(() => expect(infoCache(bench).map(({ id }) => id)).toEqual([portId]), WAIT);
    expect(await macs(agent)).toEqual([own?.address]);
  });

  it('is compared with Neutron, as an event may be lost', async () => {
    const { bench, agent } = await standing();
    const [own] = infoCache(bench);
    await agent.close();
    await bench.open({ ...UNWAITED, healIntervalMs: 100 });
    const fields = { fixed_ips: [{ ip_address: '10.9.0.98' }] };
    await services.neutron.call('PUT', `/ports/${own?.id}`, { port: fields });
    await vi.waitFor(() => expect(JSON.stringify(infoCache(bench))).toContain('10.9.0.98'), WAIT);
    expect(infoCache(bench)).toMatchObject([{ id: own?.id, preserve_on_delete: false }]);
  });

  it('that was deleted while no agent ran leaves no port', async () => {
    const { bench, agent } = await standing();
    await agent.close();
    bench.conductor.deleted.set(UUID, bench.conductor.instance(UUID));
    bench.conductor.instances.delete(UUID);
    const next = await bench.open(UNWAITED);
    expect(await next.node.list()).toEqual([]);
    expect(await services.ports()).toEqual([]);
  });
});
