// Servers with ports of Neutron that are shelved and come back: the ports stay theirs, whatever fails or dies meanwhile.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { Port } from '../../src/agent/neutron/resources.js';
import type { ComputeAgent } from '../../src/index.js';
import { infoCache, type NetworkBench, networkServices, PROJECT, tell } from '../agent/network-bench.js';
import { BUILD, HOST, leave, TARGET, UUID, WAIT } from '../agent/sent.js';
import { shelvedNow, unshelving } from '../agent/shelving.js';

const services = networkServices();
/** Nothing waits for a port to be plugged in. */
const UNWAITED = { vifPluggingTimeoutMs: 0 };
const IMAGE = '99999999-2222-4333-8444-555555555555';
const GONE = ['shelved_offloaded', null, null];
const HERE = ['active', null, HOST];
const ASKED = {
  shelve_instance: { task_state: 'shelving' },
  shelve_offload_instance: { task_state: 'shelving_offloading' },
  unshelve_instance: { task_state: 'unshelving' },
};
type Method = keyof typeof ASKED;

const argumentsOf = (method: Method): Record<string, unknown> =>
  method === 'unshelve_instance' ? unshelving(IMAGE) : { image_id: IMAGE, clean_shutdown: false };

async function ask({ conductor, client }: NetworkBench, method: Method): Promise<void> {
  const instance = conductor.asked(UUID, ASKED[method]);
  await client.cast(TARGET, method, { instance, ...argumentsOf(method) });
}

/** Gives the failure of the last of so many. */
async function ended({ conductor }: NetworkBench, method: Method, count = 1): Promise<unknown> {
  const finished = () => conductor.finished(`compute_${method}`);
  await vi.waitFor(() => expect(finished()).toHaveLength(count), WAIT);
  return finished().at(-1)?.failure;
}

async function done(bench: NetworkBench, method: Method): Promise<unknown> {
  const before = bench.conductor.finished(`compute_${method}`).length;
  await ask(bench, method);
  return await ended(bench, method, before + 1);
}

const states = ({ conductor }: NetworkBench): unknown[] =>
  ['vm_state', 'task_state', 'host'].map((name) => conductor.instance(UUID).get(name));
const vifs = ({ hypervisor }: NetworkBench): unknown => hypervisor.domains.get(UUID)?.instance.vifs;
const power = async (agent: ComputeAgent): Promise<string> => (await agent.node.get(UUID)).powerState;

/** Of each port of the server. */
async function hosts(): Promise<unknown[]> {
  return (await services.ports()).map((port) => port['binding:host_id']);
}

interface Server {
  readonly bench: NetworkBench;
  readonly agent: ComputeAgent;
  /** That its user gave. */
  readonly given: Port;
  readonly networkId: string;
}

/** One that runs here, with a port that was given and one that was made; the subnet has no DHCP. */
async function running(): Promise<Server> {
  const bench = await services.bench();
  const agent = await bench.open(UNWAITED);
  const networkId = await services.network({}, { cidr: '10.9.0.0/24', enable_dhcp: false });
  const given = await services.port({ network_id: networkId });
  await services.build(bench, agent, [{ port_id: given.id }, { network_id: networkId }]);
  await vi.waitFor(() => expect(bench.conductor.finished(BUILD)).toHaveLength(1), WAIT);
  expect(states(bench)).toEqual(HERE);
  return { bench, agent, given, networkId };
}

async function offloaded(): Promise<Server> {
  const server = await running();
  expect(await done(server.bench, 'shelve_instance')).toBeUndefined();
  expect(states(server.bench)).toEqual(GONE);
  return server;
}

async function terminated({ client, conductor }: NetworkBench): Promise<void> {
  const instance = conductor.asked(UUID, { task_state: 'deleting' });
  await client.cast(TARGET, 'terminate_instance', { instance, bdms: [] });
  await vi.waitFor(() => expect(conductor.instances.has(UUID)).toBe(false), WAIT);
}

/** The next agent of the host, which waits for its ports. */
async function next(
  bench: NetworkBench,
  agent: ComputeAgent,
  ...options: Parameters<NetworkBench['open']>
): Promise<ComputeAgent> {
  await agent.close();
  return await bench.open(...options);
}

async function isPaused(agent: ComputeAgent): Promise<void> {
  await vi.waitFor(async () => expect(await power(agent)).toBe('paused'), WAIT);
}

it('a shelved server keeps its ports, bound to no host, and runs again when they are plugged in', async () => {
  const { bench, agent, given } = await running();
  const [before, cached] = [vifs(bench), infoCache(bench)];
  for (const { id } of cached) await services.neutron.plug(id);
  expect(before).toMatchObject([{ addresses: [{ prefixLength: 24 }] }, { addresses: [{}] }]);
  expect(await done(bench, 'shelve_instance')).toBeUndefined();
  const unbound = { status: 'DOWN', 'binding:host_id': '', 'binding:vif_type': 'unbound' };
  expect(await services.ports()).toMatchObject([
    { device_owner: 'compute:nova', ...unbound },
    { device_owner: 'compute:nova', ...unbound },
  ]);
  expect(infoCache(bench)).toEqual(cached);

  const waiting = await next(bench, agent);
  await ask(bench, 'unshelve_instance');
  await isPaused(waiting);
  expect(await hosts()).toEqual([HOST, HOST]);
  for (const { id } of infoCache(bench)) await tell(bench, 'network-vif-plugged', id);
  expect(await ended(bench, 'unshelve_instance')).toBeUndefined();
  expect(states(bench)).toEqual(HERE);
  expect(await power(waiting)).toBe('running');
  expect(vifs(bench)).toEqual(before);
  expect(infoCache(bench)).toMatchObject([
    { id: given.id, type: 'bridge', preserve_on_delete: true },
    { id: cached[1]?.id, type: 'bridge', preserve_on_delete: false },
  ]);

  await terminated(bench);
  expect(await services.ports()).toEqual([]);
  expect((await services.ports('')).map(({ id }) => id)).toEqual([given.id]);
});

it('one that is shelved and stays on its host keeps the binding of its ports until it is offloaded', async () => {
  const { bench, agent } = await running();
  await next(bench, agent, UNWAITED, { offloadShelved: false });
  expect(await done(bench, 'shelve_instance')).toBeUndefined();
  expect(await hosts()).toEqual([HOST, HOST]);
  bench.proxy.mishaps.push({ method: 'PUT', mishap: 'away' }, { method: 'PUT', mishap: 'answer-lost' });
  expect(await done(bench, 'shelve_offload_instance')).toBeUndefined();
  expect(bench.proxy.mishaps).toEqual([]);
  expect(states(bench)).toEqual(GONE);
  expect(await hosts()).toEqual(['', '']);
});

it('the config drive of an unshelved server tells its addresses', async () => {
  const { bench } = await offloaded();
  bench.conductor.instance(UUID).set('config_drive', 'True');
  expect(await done(bench, 'unshelve_instance')).toBeUndefined();
  const drive = readFileSync(join(bench.path, 'instances', UUID, 'disk.config'), 'latin1');
  const told = [...drive.matchAll(/"ip_address":"([\d.]+)"/g)].map(([, address]) => address);
  const addresses = infoCache(bench).flatMap(({ network }) => network.subnets[0]?.ips[0]?.address ?? []);
  expect(addresses).toHaveLength(2);
  expect([...new Set(told)]).toEqual(addresses);
});

describe('a server that cannot be unshelved keeps its ports, bound to no host,', () => {
  it('where one is not plugged in, and is unshelved later', async () => {
    const { bench, agent } = await offloaded();
    const waiting = await next(bench, agent);
    await ask(bench, 'unshelve_instance');
    await isPaused(waiting);
    await tell(bench, 'network-vif-plugged', infoCache(bench)[1]?.id ?? '', 'failed');
    expect(await ended(bench, 'unshelve_instance')).toContain('could not plug in');
    expect(states(bench)).toEqual(GONE);
    expect(await hosts()).toEqual(['', '']);
    expect(await waiting.node.list()).toEqual([]);

    await next(bench, waiting, UNWAITED);
    expect(await done(bench, 'unshelve_instance')).toBeUndefined();
    expect(states(bench)).toEqual(HERE);
    expect(await hosts()).toEqual([HOST, HOST]);
  });

  it('where Neutron cannot bind one to this host', async () => {
    const { bench, agent, given } = await offloaded();
    const port = { 'binding:vnic_type': 'direct' };
    await services.neutron.call('PUT', `/ports/${given.id}`, { port });
    expect(await done(bench, 'unshelve_instance')).toContain('binding_failed');
    expect(states(bench)).toEqual(GONE);
    expect(await hosts()).toEqual(['', '']);
    expect(await agent.node.list()).toEqual([]);
  });
});

it('a port of another project that names the server is none of its own, and one that is gone is missed', async () => {
  const { bench, given, networkId } = await offloaded();
  const foreign = await services.port({ network_id: networkId, tenant_id: 'others', device_id: UUID });
  const [, made] = infoCache(bench);
  await services.neutron.call('DELETE', `/ports/${made?.id}`);
  expect(foreign.tenant_id).not.toBe(PROJECT);
  expect(await done(bench, 'unshelve_instance')).toBeUndefined();
  expect(infoCache(bench).map(({ id }) => id)).toEqual([given.id]);
  expect(vifs(bench)).toMatchObject([{ id: given.id }]);
  const bound = (await services.ports()).filter((port) => port['binding:host_id'] === HOST);
  expect(bound.map(({ id }) => id)).toEqual([given.id]);
});

it('a server that is deleted while it is unshelved leaves the port of its user alone', async () => {
  const { bench, agent, given } = await offloaded();
  const waiting = await next(bench, agent);
  await ask(bench, 'unshelve_instance');
  await isPaused(waiting);
  await terminated(bench);
  await ended(bench, 'unshelve_instance');
  expect(await waiting.node.list()).toEqual([]);
  expect(await services.ports()).toEqual([]);
  expect(await services.ports('')).toMatchObject([{ id: given.id, 'binding:host_id': '' }]);
});

describe('what a process that died had taken', () => {
  /** With these fields stored; three processes died under one that is not tried again. */
  async function taken(bench: NetworkBench, method: Method, fields: object, tries = 1): Promise<void> {
    const instance = bench.conductor.asked(UUID, { ...fields });
    const sent = { method, args: { instance, ...argumentsOf(method) } };
    await leave(join(bench.path, 'commands'), sent, `taken-${method}`, tries);
  }

  const spawning = {
    vm_state: 'shelved_offloaded',
    task_state: 'spawning',
    host: HOST,
    system_metadata: shelvedNow(IMAGE),
  };

  it('of an offloading leaves a port alone that another host has bound since', async () => {
    const { bench, agent, given } = await running();
    await agent.node.terminate(UUID);
    await agent.close();
    const port = { 'binding:host_id': 'another-host' };
    await services.neutron.call('PUT', `/ports/${given.id}`, { port });
    const shelved = { ...spawning, vm_state: 'shelved', task_state: 'shelving_offloading' };
    await taken(bench, 'shelve_offload_instance', shelved);
    await bench.open(UNWAITED);
    expect(await ended(bench, 'shelve_offload_instance')).toBeUndefined();
    expect(states(bench)).toEqual(GONE);
    const bound = new Map((await services.ports()).map(({ id, ...rest }) => [id, rest['binding:host_id']]));
    expect(bound.get(given.id)).toBe('another-host');
    expect([...bound.values()].toSorted()).toEqual(['', 'another-host']);
  });

  it('of an unshelving that waited for its ports is done again, with the same ones', async () => {
    const { bench, agent } = await offloaded();
    const first = await next(bench, agent);
    await ask(bench, 'unshelve_instance');
    await isPaused(first);
    const ports = (await services.ports()).map(({ id }) => id);
    await first.close({ graceMs: 0 });
    expect(states(bench)).toEqual(['shelved_offloaded', 'spawning', HOST]);
    const second = await bench.open();
    await isPaused(second);
    for (const { id } of infoCache(bench)) await tell(bench, 'network-vif-plugged', id);
    expect(await ended(bench, 'unshelve_instance')).toBeUndefined();
    expect(states(bench)).toEqual(HERE);
    expect(await power(second)).toBe('running');
    expect((await services.ports()).map(({ id }) => id)).toEqual(ports);
  });

  it('of an unshelving takes the guest that stands, with its ports', async () => {
    const { bench, agent } = await running();
    const before = vifs(bench);
    await agent.close();
    await taken(bench, 'unshelve_instance', spawning);
    const second = await bench.open(UNWAITED);
    expect(await ended(bench, 'unshelve_instance')).toBeUndefined();
    expect(states(bench)).toEqual(HERE);
    expect(await power(second)).toBe('running');
    expect(vifs(bench)).toEqual(before);
    expect(await hosts()).toEqual([HOST, HOST]);
  });

  it('of an unshelving that ended three processes leaves the ports to no host, and the server shelved', async () => {
    const { bench, agent } = await running();
    await agent.close();
    await taken(bench, 'unshelve_instance', spawning, 3);
    const last = await bench.open(UNWAITED);
    expect(await ended(bench, 'unshelve_instance')).toContain('is not tried again');
    expect(states(bench)).toEqual(GONE);
    expect(await last.node.list()).toEqual([]);
    expect(await hosts()).toEqual(['', '']);
    expect(infoCache(bench)).toHaveLength(2);
  });
});
