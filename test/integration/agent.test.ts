// The agent as a host of Nova's: over a real broker and a real Placement, with the stock host's own conversation as measure.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { RemoteError } from '../../src/agent/errors.js';
import { decodeValue, type NovaObject } from '../../src/agent/nova-object.js';
import type { RpcClient } from '../../src/agent/rpc-client.js';
import { ComputeAgent, FakeHypervisor } from '../../src/index.js';
import * as scheduler from '../agent/allocations.js';
import { type ControlPlane, controlPlane } from '../agent/control-plane.js';
import type { FakeConductor } from '../agent/fake-conductor.js';
import { type Arguments, BUILD, copyOf, HOST, leave, request, TARGET, UUID, WAIT } from '../agent/sent.js';
import { rows } from '../agent/traces.js';

const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle();
const directory = mkdtempSync(join(tmpdir(), 'node-compute-agent-'));
let rabbitmq: PrivateRabbitmq;
let placement: PrivatePlacement;
let count = 0;

beforeAll(async () => {
  if (obstacle) return;
  for (const name of ['placement', 'broker']) mkdirSync(join(directory, name));
  placement = await PrivatePlacement.start(join(directory, 'placement'));
  rabbitmq = await PrivateRabbitmq.start(join(directory, 'broker'));
});

beforeEach(async ({ skip }) => {
  skip(obstacle !== undefined, obstacle);
  count += 1;
});

afterAll(async () => {
  await rabbitmq?.stop();
  await placement?.stop();
  rmSync(directory, { recursive: true });
});

const trace = rows('libvirt');

interface Bench extends ControlPlane {
  readonly hypervisor: FakeHypervisor;
  readonly path: string;
  readonly open: () => Promise<ComputeAgent>;
}

async function bench(): Promise<Bench> {
  const { conductor, client } = await controlPlane(rabbitmq.url, join(directory, `conductor-${count}`));
  const hypervisor = new FakeHypervisor({ hostname: `host-${count}`, vcpus: 4, memoryMb: 4096, localGb: 50 });
  const path = join(directory, `node-${count}`);
  const open = async (): Promise<ComputeAgent> => {
    const agent = await ComputeAgent.open({
      broker: { url: rabbitmq.url },
      placement: { endpoint: placement.url, auth: { type: 'token', token: placement.token } },
      host: HOST,
      reportIntervalMs: 200,
      node: {
        driver: 'fake.FakeDriver',
        driverOptions: { hypervisor },
        instancesPath: join(path, 'instances'),
      },
    });
    onTestFinished(() => agent.close());
    return agent;
  };
  mkdirSync(path);
  return { conductor, client, hypervisor, path, open };
}

interface States {
  readonly vm_state?: unknown;
  readonly task_state?: unknown;
  readonly power_state?: unknown;
  readonly expected: readonly unknown[] | undefined;
}

/** What was written of an instance's states, and on what condition. */
function states(
  written: readonly { object: string; fields: Record<string, unknown>; expected?: unknown }[],
): States[] {
  return written.flatMap(({ object, fields, expected }) => {
    const known = ['vm_state', 'task_state', 'power_state'].filter((name) => name in fields);
    if (object !== 'Instance' || known.length === 0) return [];
    return [
      {
        ...Object.fromEntries(known.map((name) => [name, fields[name]])),
        expected: expected === undefined ? undefined : [expected].flat(),
      },
    ];
  });
}

/** The same of the stock host. */
function golden(operation: string): States[] {
  const calls = trace.filter(
    (row) => row.operation === operation && row.kind === 'call' && row.method === 'object_action',
  );
  return states(
    calls.flatMap(({ args }) => {
      const { objinst, objmethod, kwargs } = decodeValue(args) as Record<string, unknown>;
      if (objmethod !== 'save') return [];
      const object = objinst as NovaObject;
      const fields = Object.fromEntries(object.changes.map((name) => [name, object.get(name)]));
      const { expected_task_state: expected } = kwargs as Record<string, unknown>;
      return [{ object: object.name, fields, expected }];
    }),
  );
}

const cast = (client: RpcClient, method: string, args: Record<string, unknown>): Promise<void> =>
  client.cast(TARGET, method, args);

/** As the API has left it in the database. */
function store(conductor: FakeConductor, instance: NovaObject): void {
  conductor.instances.set(String(instance.get('uuid')), copyOf(instance));
}

const allocate = (agent: ComputeAgent, uuid: string): Promise<void> =>
  scheduler.allocate(placement, agent, uuid);
const allocations = (uuid: string): Promise<object> => scheduler.allocations(placement, uuid);

/** Sends what the stock host was sent, and waits for the end of it. */
async function replay(
  { conductor, client }: Bench,
  operation: string,
  event: string,
  change: (args: Arguments) => void = () => undefined,
): Promise<States[]> {
  const { method, args } = request(operation);
  change(args);
  store(conductor, args.instance);
  conductor.written.length = 0;
  const before = conductor.finished(event).length;
  await cast(client, method, args);
  await vi.waitFor(() => expect(conductor.finished(event)).toHaveLength(before + 1), WAIT);
  return states(conductor.written);
}

describe('a host of Nova', () => {
  it('registers, and does each command in the states of the stock host', async () => {
    const here = await bench();
    const { conductor, client } = here;
    const agent = await here.open();
    await vi.waitFor(() => {
      expect(conductor.service?.get('host')).toBe(HOST);
      expect(conductor.computeNode?.get('uuid')).toBe(agent.reporter.report.nodeUuid);
    }, WAIT);
    expect(conductor.computeNode?.get('memory_mb')).toBe(4096);
    await vi.waitFor(() => {
      const beats = conductor.written.filter(
        ({ object, method }) => object === 'Service' && method === 'save',
      );
      expect(beats.length).toBeGreaterThan(1);
    }, WAIT);

    await allocate(agent, UUID);
    const built = await replay(here, 'boot-warm', BUILD);
    const stock = golden('boot-warm');
    expect(built[0]).toEqual(stock[0]);
    expect(built.at(-1)).toEqual(stock.at(-1));
    expect(conductor.instance(UUID).get('host')).toBe(HOST);
    expect((await agent.node.get(UUID)).powerState).toBe('running');
    const used = (): unknown =>
      conductor.written.filter(({ object }) => object === 'ComputeNode').at(-1)?.fields;
    await vi.waitFor(() => expect(used()).toMatchObject({ vcpus_used: 1, memory_mb_used: 576 }), WAIT);

    const changes = ['stop', 'start', 'reboot-soft', 'reboot-hard', 'pause', 'unpause', 'suspend', 'resume'];
    for (const operation of changes) {
      const event = `compute_${operation.split('-')[0]}_instance`;
      expect(await replay(here, operation, event), operation).toEqual(golden(operation));
      expect(conductor.finished(event).at(-1)?.failure).toBeUndefined();
    }

    const call = (operation: string): Promise<unknown> => {
      const { method, args } = request(operation);
      return client.call(TARGET, method, args);
    };
    expect(await call('console')).toEqual(expect.any(String));
    const diagnostics = (await call('diagnostics')) as NovaObject;
    expect([diagnostics.name, diagnostics.get('state')]).toEqual(['Diagnostics', 'running']);

    const resized = await replay(here, 'resize', 'compute_prep_resize');
    expect(resized).toEqual(golden('resize'));
    expect(await replay(here, 'confirm', 'compute_confirm_resize')).toEqual(golden('confirm'));

    expect(await replay(here, 'terminate', 'compute_terminate_instance')).toEqual(golden('terminate'));
    expect(conductor.instances.has(UUID)).toBe(false);
    expect(await agent.node.list()).toEqual([]);
    expect(await allocations(UUID)).toEqual({});
  });

  it('a build that no host could do ends in ERROR with a fault; one that another can goes back', async () => {
    const here = await bench();
    const { conductor } = here;
    const agent = await here.open();
    await allocate(agent, UUID);
    await replay(here, 'boot-warm', BUILD, ({ requested_networks: networks }) => {
      const [network] = (networks as NovaObject).get('objects') as NovaObject[];
      network?.set('network_id', 'a6a1f3a4-0000-4000-8000-000000000000');
    });
    const failed = conductor.instance(UUID);
    expect([failed.get('vm_state'), failed.get('task_state'), failed.get('host')]).toEqual([
      'error',
      null,
      null,
    ]);
    expect(conductor.finished(BUILD)[0]?.failure).toContain('networks of Neutron');
    const fault = conductor.written.find(({ object }) => object === 'InstanceFault');
    expect(fault?.fields['message']).toContain('networks of Neutron');
    expect(await allocations(UUID)).toEqual({});
    expect(conductor.rescheduled).toEqual([]);

    await allocate(agent, UUID);
    await replay(here, 'boot-warm', BUILD, ({ instance }) => {
      (instance.get('flavor') as NovaObject).set('memory_mb', 1_000_000);
    });
    await vi.waitFor(() => expect(conductor.rescheduled).toHaveLength(1), WAIT);
    const given = conductor.instance(UUID);
    expect([given.get('host'), given.get('task_state')]).toEqual([null, 'scheduling']);
    expect(await allocations(UUID)).toEqual({});
    expect(conductor.rescheduled[0]).toMatchObject({ legacy_bdm: false, host_lists: [[]] });
    expect(await agent.node.list()).toEqual([]);
  });

  it('does what a process that died has taken, once', async () => {
    const here = await bench();
    const { conductor, path } = here;
    const first = await here.open();
    await allocate(first, UUID);
    await first.close();
    const sent = request('boot-warm');
    store(conductor, sent.args.instance);
    await leave(join(path, 'commands'), sent, 'taken');

    const second = await here.open();
    await vi.waitFor(() => expect(conductor.instance(UUID).get('vm_state')).toBe('active'), WAIT);
    await vi.waitFor(() => expect(conductor.finished(BUILD)).toHaveLength(1), WAIT);
    expect((await second.node.get(UUID)).powerState).toBe('running');
    await second.close();

    // It died after all was done and before the journal knew.
    await leave(join(path, 'commands'), sent, 'taken-again');
    conductor.written.length = 0;
    const third = await here.open();
    await vi.waitFor(() => expect(readdirSync(join(path, 'commands', 'commands'))).toEqual([]), WAIT);
    await third.close();
    expect(conductor.finished(BUILD)).toHaveLength(2);
    expect(states(conductor.written)).toEqual([]);
  });

  it('tells what a guest did by itself, and removes what was deleted while it was away', async () => {
    const here = await bench();
    const { conductor, hypervisor } = here;
    const first = await here.open();
    await allocate(first, UUID);
    await replay(here, 'boot-warm', BUILD);
    hypervisor.stop(UUID, 'shutdown');
    await vi.waitFor(() => expect(conductor.instance(UUID).get('vm_state')).toBe('stopped'), WAIT);
    expect(conductor.instance(UUID).get('power_state')).toBe(4);
    // The command of its deletion was lost with a broker.
    conductor.instance(UUID).set('task_state', 'deleting');
    await first.close();
    const next = await here.open();
    expect(await next.node.list()).toEqual([]);
    expect(conductor.instances.has(UUID)).toBe(false);
    // A report under way may bring it back, and the next one takes it away.
    await vi.waitFor(async () => expect(await allocations(UUID)).toEqual({}), WAIT);

    await allocate(next, UUID);
    await replay(here, 'boot-warm', BUILD);
    await next.close();
    conductor.deleted.set(UUID, conductor.instance(UUID));
    conductor.instances.delete(UUID);
    const second = await here.open();
    expect(await second.node.list()).toEqual([]);
    expect(await allocations(UUID)).toEqual({});
  });

  it('a command that fails leaves a fault and no task; one whose task is another by then changes nothing', async () => {
    const here = await bench();
    const { conductor, hypervisor } = here;
    const agent = await here.open();
    await allocate(agent, UUID);
    await replay(here, 'boot-warm', BUILD);
    hypervisor.stop(UUID, 'crashed');
    await replay(here, 'pause', 'compute_pause_instance');
    const failed = conductor.instance(UUID);
    expect([failed.get('vm_state'), failed.get('task_state')]).toEqual(['error', null]);
    expect(conductor.finished('compute_pause_instance')[0]?.failure).toContain(UUID);
    expect(conductor.written.some(({ object }) => object === 'InstanceFault')).toBe(true);

    const { method, args } = request('start');
    store(conductor, args.instance);
    conductor.instance(UUID).set('task_state', 'rebooting');
    await cast(here.client, method, args);
    await vi.waitFor(() => expect(conductor.finished('compute_start_instance')).toHaveLength(1), WAIT);
    const other = conductor.instance(UUID);
    expect([other.get('vm_state'), other.get('task_state')]).toEqual(['stopped', 'rebooting']);
  });

  it('a message that is not true ends no guest, and moves nothing of another server', async () => {
    const here = await bench();
    const { conductor, client, path } = here;
    const agent = await here.open();
    await allocate(agent, UUID);
    await replay(here, 'boot-warm', BUILD);
    const finished = (): number => readdirSync(join(path, 'commands', 'finished')).length;
    await vi.waitFor(() => expect(finished()).toBe(1), WAIT);
    const held = await allocations(UUID);
    conductor.written.length = 0;

    const build = request('boot-warm');
    await cast(client, build.method, build.args);
    // Of a server that is not there, by the migration of one that is; and of one that is, by another's migration.
    const absent = request('resize');
    absent.args.instance.set('uuid', 'a6a1f3a4-0000-4000-8000-000000000000');
    await cast(client, absent.method, absent.args);
    const mixed = request('resize');
    (mixed.args['migration'] as NovaObject).set('instance_uuid', 'a6a1f3a4-0000-4000-8000-000000000000');
    await cast(client, mixed.method, mixed.args);
    // Whose uuid leads elsewhere.
    const elsewhere = request('terminate');
    elsewhere.args.instance.set('uuid', `../allocations/${UUID}`);
    await cast(client, elsewhere.method, elsewhere.args);
    await vi.waitFor(() => expect(finished()).toBe(5), WAIT);

    expect((await agent.node.get(UUID)).powerState).toBe('running');
    expect(conductor.finished(BUILD)).toHaveLength(1);
    expect(conductor.written.filter(({ object }) => object === 'Migration')).toEqual([]);
    const fields = conductor.instance(UUID);
    expect([fields.get('vm_state'), fields.get('host'), fields.get('new_flavor')]).toEqual([
      'active',
      HOST,
      null,
    ]);
    expect(await allocations(UUID)).toEqual(held);
  });

  it('answers what it does not have', async () => {
    const here = await bench();
    const { conductor, client } = here;
    const agent = await here.open();
    await allocate(agent, UUID);
    await replay(here, 'boot-warm', BUILD);
    const { args } = request('stop');
    args.instance.set('task_state', 'migrating');
    store(conductor, args.instance);
    await cast(client, 'live_migration', { instance: args.instance });
    await vi.waitFor(() => expect(conductor.instance(UUID).get('task_state')).toBeNull(), WAIT);
    await vi.waitFor(() => expect(conductor.finished('compute_live_migration')).toHaveLength(1), WAIT);
    expect(conductor.finished('compute_live_migration')[0]?.failure).toContain('does not support');
    expect(conductor.instance(UUID).get('vm_state')).toBe('active');

    const refused = await client.call(TARGET, 'no_such_method', {}).catch((error: unknown) => error);
    expect(RemoteError.of(refused, 'NoSuchMethod')).toBe(true);
    expect(await client.call(TARGET, 'set_host_enabled', { enabled: false })).toBe('disabled');
    expect(agent.node.service.status.enabled).toBe(false);
    expect(await client.call(TARGET, 'cache_images', { image_ids: ['a'] })).toEqual({ a: 'unsupported' });
    expect(await client.call(TARGET, 'external_instance_event', { instances: [], events: [] })).toBeNull();
    expect(await client.call(TARGET, 'get_host_uptime', {})).toContain('load average');
  });
});
