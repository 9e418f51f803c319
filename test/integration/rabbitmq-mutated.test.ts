// Ten thousand damaged messages, 500 a second, over a real RabbitMQ: a host that takes them still answers good calls.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { FileCommandJournal } from '../../src/agent/command-journal.js';
import { ownContext } from '../../src/agent/context.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { type RpcReport, RpcServer } from '../../src/agent/rpc-server.js';
import { mutate } from '../agent/mutate.js';
import { HOSTS, wire } from '../agent/traces.js';

const MESSAGES = 10_000;
const PER_SECOND = 500;
const BURSTS_PER_SECOND = 10;

const obstacle = PrivateRabbitmq.obstacle();
const directory = mkdtempSync(join(tmpdir(), 'node-compute-rabbitmq-'));
let rabbitmq: PrivateRabbitmq;

beforeAll(async () => {
  if (!obstacle) rabbitmq = await PrivateRabbitmq.start(directory);
});

beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));

afterAll(async () => {
  await rabbitmq?.stop();
  rmSync(directory, { recursive: true });
});

it('damaged messages are dropped, the good ones among them served, and no memory is lost', async () => {
  const broker = new AmqpBroker({ url: rabbitmq.url });
  onTestFinished(() => broker.close());
  const journal = await FileCommandJournal.open(join(directory, 'journal'));
  const kinds: Partial<Record<RpcReport['kind'], number>> = {};
  const server = await RpcServer.open(broker, {
    topic: 'compute',
    host: 'h',
    endpoints: [{ version: '6.1', methods: { echo: ({ n }) => n, stop_instance: () => undefined } }],
    journal,
    onReport: ({ kind }) => {
      kinds[kind] = (kinds[kind] ?? 0) + 1;
    },
  });
  onTestFinished(() => server.close());
  const client = await RpcClient.open(broker, { context: ownContext() });
  const bodies = HOSTS.flatMap((host) =>
    wire(host).flatMap(({ body }) => (body ? [Buffer.from(JSON.stringify(body))] : [])),
  );
  const call = async (n: number): Promise<void> => {
    expect(await client.call({ topic: 'compute', server: 'h', version: '6.0' }, 'echo', { n })).toBe(n);
  };

  await call(-1);
  globalThis.gc?.();
  const before = process.memoryUsage();
  const calls: Promise<void>[] = [];
  for (let sent = 0; sent < MESSAGES; ) {
    for (let burst = PER_SECOND / BURSTS_PER_SECOND; burst > 0; burst--, sent++) {
      const body = mutate(bodies[sent % bodies.length] as Buffer, sent + 1);
      await broker.publish({ key: 'compute.h', body });
    }
    calls.push(call(sent));
    await sleep(1000 / BURSTS_PER_SECOND);
  }
  await Promise.all(calls);
  expect(calls).toHaveLength(MESSAGES / (PER_SECOND / BURSTS_PER_SECOND));
  await expect.poll(async () => (await journal.unfinished()).length, { timeout: 30_000 }).toBe(0);
  globalThis.gc?.();
  const after = process.memoryUsage();
  expect(kinds.unreadable).toBeGreaterThan(MESSAGES / 4);
  expect(kinds.refused).toBeGreaterThan(0);
  expect(kinds.journal).toBeUndefined();
  expect(after.heapUsed - before.heapUsed).toBeLessThan(32 * 1024 * 1024);
  expect(after.external - before.external).toBeLessThan(32 * 1024 * 1024);
});
