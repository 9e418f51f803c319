// Hostile messages, 500 a second, on a real broker to an agent in a process of its own: good servers among them are built all the same.
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { ownContext } from '../../src/agent/context.js';
import { RemoteError } from '../../src/agent/errors.js';
import { decodeValue, encodeValue, type NovaObject } from '../../src/agent/nova-object.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { AgentChild } from '../agent/agent-child.js';
import { FakeConductor } from '../agent/fake-conductor.js';
import { flood } from '../agent/flood.js';
import { HOST, request, TARGET, UUID } from '../agent/sent.js';

const MESSAGES = 1500;
const PER_SECOND = 500;
/** Of garbage that is not collected yet. A leak of the messages themselves would be more. */
const MOST_GROWTH_MIB = 150;
const WAIT = { timeout: 120_000, interval: 50 };

const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle();
const directory = mkdtempSync(join(tmpdir(), 'node-compute-hostile-'));
let rabbitmq: PrivateRabbitmq;
let placement: PrivatePlacement;
let broker: AmqpBroker;
let client: RpcClient;
let agent: AgentChild;
const conductor = new FakeConductor();

beforeAll(async () => {
  if (obstacle) return;
  for (const name of ['broker', 'placement']) mkdirSync(join(directory, name));
  rabbitmq = await PrivateRabbitmq.start(join(directory, 'broker'));
  placement = await PrivatePlacement.start(join(directory, 'placement'));
  broker = new AmqpBroker({ url: rabbitmq.url });
  await conductor.open(broker, join(directory, 'conductor'));
  client = await RpcClient.open(broker, { context: ownContext() });
  const agentDirectory = join(directory, 'agent');
  const brokerUrl = rabbitmq.url;
  agent = await AgentChild.start({ directory: agentDirectory, host: HOST, brokerUrl, placement });
}, 120_000);

beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));

afterAll(async () => {
  await agent?.stop();
  await client?.close();
  await conductor.close();
  await broker?.close();
  await placement?.stop();
  await rabbitmq?.stop();
  rmSync(directory, { recursive: true });
});

/** What the API sends for a server of its own. */
function server(): { readonly uuid: string; readonly build: Record<string, unknown> } {
  const uuid = randomUUID();
  const own = JSON.stringify(encodeValue(request('boot-warm').args)).replaceAll(UUID, uuid);
  return { uuid, build: decodeValue(JSON.parse(own)) as Record<string, unknown> };
}

/** As the API has left it in the database. */
function created(): { readonly uuid: string; readonly build: Record<string, unknown> } {
  const made = server();
  conductor.instances.set(made.uuid, made.build['instance'] as NovaObject);
  return made;
}

async function boot(): Promise<string> {
  const { uuid, build } = created();
  await client.cast(TARGET, 'build_and_run_instance', build);
  return uuid;
}

async function active(uuid: string): Promise<void> {
  await vi.waitFor(() => {
    const instance = conductor.instance(uuid);
    expect([instance.get('vm_state'), instance.get('host')]).toEqual(['active', HOST]);
  }, WAIT);
}

it('a command with an argument of another type changes nothing; one that is called is done, and answered', async () => {
  const { uuid, build } = created();
  const wrong = { ...build, filter_properties: 'retry' };
  const refused = await client.call(TARGET, 'build_and_run_instance', wrong).catch((error: unknown) => error);
  expect(RemoteError.of(refused, 'ComputeError')).toBe(true);
  expect((refused as Error).message).toContain('filter_properties is not an object');
  expect(conductor.written.filter(({ object }) => object === 'Instance')).toEqual([]);
  expect(conductor.events).toEqual([]);

  expect(await client.call(TARGET, 'build_and_run_instance', build)).toBeNull();
  await active(uuid);
  const instance = conductor.instance(uuid);
  expect(await client.call(TARGET, 'terminate_instance', { instance, bdms: null })).toBeNull();
  expect(conductor.instances.has(uuid)).toBe(false);
  await vi.waitFor(() => expect(agent.journal('finished')).toHaveLength(3), WAIT);
  const metrics = await (await fetch(`${agent.monitorUrl}/metrics`)).text();
  expect(metrics).toContain('node_compute_agent_message_troubles_total{kind="failed"} 1');
});

it('good servers are built and deleted among hostile messages; the agent lives, and keeps nothing of them', {
  timeout: 240_000,
}, async () => {
  const good = [await boot()];
  await active(good[0] ?? '');
  const before = agent.residentMib;
  await flood({ broker, host: HOST, messages: MESSAGES, perSecond: PER_SECOND }, async () => {
    good.push(await boot());
  });
  for (const uuid of good) await active(uuid);
  await vi.waitFor(() => expect(agent.journal()).toEqual([]), WAIT);
  expect(good.length).toBeGreaterThan(MESSAGES / 100);
  for (const uuid of good) {
    const instance = conductor.instance(uuid);
    const diagnostics = await client.call(TARGET, 'get_instance_diagnostics', { instance });
    expect((diagnostics as NovaObject).get('state')).toBe('running');
    await client.cast(TARGET, 'terminate_instance', { instance, bdms: null });
  }
  await vi.waitFor(() => expect(good.filter((uuid) => conductor.instances.has(uuid))).toEqual([]), WAIT);
  await vi.waitFor(() => expect(agent.journal()).toEqual([]), WAIT);

  expect(agent.isAlive).toBe(true);
  expect(agent.residentMib - before).toBeLessThan(MOST_GROWTH_MIB);
  for (const folder of ['set-aside', 'suspects', 'temporary']) expect(agent.journal(folder)).toEqual([]);
  const warnings = agent.log.split('\n').filter((line) => line.includes('"level":40'));
  expect(warnings.filter((line) => line.includes('unreadable')).length).toBeGreaterThan(0);
  expect(warnings.length).toBeLessThan(MESSAGES / 10);
  expect(await agent.stop()).toBe(0);
});
