// The agent's wire over a real RabbitMQ: what is declared there, what survives its restarts, and whom it is trusted by.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type Channel, type ConsumeMessage, connect } from 'amqplib';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import { AmqpBroker, type AmqpBrokerOptions, type BrokerState } from '../../src/agent/amqp-broker.js';
import { FileCommandJournal } from '../../src/agent/command-journal.js';
import { ownContext } from '../../src/agent/context.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import type { RpcMethod } from '../../src/agent/rpc-endpoint.js';
import { type RpcReport, RpcServer } from '../../src/agent/rpc-server.js';
import { makeCertificates } from '../agent/certificates.js';
import { wire } from '../agent/traces.js';

const obstacle = PrivateRabbitmq.obstacle();
const directory = mkdtempSync(join(tmpdir(), 'node-compute-rabbitmq-'));
let rabbitmq: PrivateRabbitmq;
let hosts = 0;

beforeAll(async () => {
  if (obstacle) return;
  rabbitmq = await PrivateRabbitmq.start(directory, { tls: makeCertificates(directory) });
});

beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));

afterAll(async () => {
  await rabbitmq?.stop();
  rmSync(directory, { recursive: true });
});

interface Connected {
  readonly broker: AmqpBroker;
  readonly states: BrokerState[];
  /** The states' names, without those that repeat the one before. */
  readonly history: () => string[];
}

function open(options: Partial<AmqpBrokerOptions> = {}): Connected {
  const states: BrokerState[] = [];
  const broker = new AmqpBroker({
    url: rabbitmq.url,
    reconnect: { firstMs: 50, mostMs: 500 },
    onState: (state) => states.push(state),
    ...options,
  });
  onTestFinished(() => broker.close());
  const history = (): string[] =>
    states.map(({ state }) => state).filter((state, index, all) => state !== all[index - 1]);
  return { broker, states, history };
}

async function serve(
  broker: AmqpBroker,
  methods: Readonly<Record<string, RpcMethod>>,
): Promise<{ host: string; reports: RpcReport[]; server: RpcServer }> {
  const host = `h${++hosts}`;
  const reports: RpcReport[] = [];
  const journal = await FileCommandJournal.open(mkdtempSync(join(directory, 'journal-')));
  const endpoints = [{ version: '6.0', methods }];
  const onReport = (report: RpcReport): void => void reports.push(report);
  const server = await RpcServer.open(broker, { topic: 'compute', host, endpoints, journal, onReport });
  onTestFinished(() => server.close());
  return { host, reports, server };
}

const client = (broker: AmqpBroker): Promise<RpcClient> => RpcClient.open(broker, { context: ownContext() });
const at = (server: string): { topic: string; server: string; version: string } => ({
  topic: 'compute',
  server,
  version: '6.0',
});

/** As another program sees the broker. */
async function channel(): Promise<Channel> {
  const connection = await connect(rabbitmq.url.replace('rabbit:', 'amqp:'));
  onTestFinished(() => connection.close());
  const opened = await connection.createChannel();
  opened.on('error', () => undefined);
  return opened;
}

/** A network between us and the broker, that can be cut. */
async function network(): Promise<{ url: string; cut: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connectSocket(rabbitmq.port, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    cut();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { url: `rabbit://guest:guest@127.0.0.1:${address.port}/`, cut };
}

describe('a host at the broker', () => {
  it('declares what the stock host declares, and sends messages of the same properties', async () => {
    const { broker } = open();
    const { host } = await serve(broker, { m: () => 'done' });
    const rpc = await client(broker);
    const traced = wire('libvirt').filter(({ way }) => way === 'declare');
    expect(traced.map(({ exchange }) => exchange)).toEqual(['', 'nova', 'nova', 'compute_fanout']);
    const other = await channel();
    // A declaration of other properties than those there are is refused.
    for (const {
      exchange = '',
      exchange_type: type = '',
      exchange_auto_delete: autoDelete = false,
    } of traced) {
      if (exchange !== '') await other.assertExchange(exchange, type, { durable: false, autoDelete });
    }
    for (const name of ['compute', `compute.${host}`]) {
      await other.assertQueue(name, { durable: false, autoDelete: false });
    }
    await other.assertQueue('conductor', { durable: false });
    await other.bindQueue('conductor', 'nova', 'conductor');
    const received = new Promise<ConsumeMessage | null>((resolve) => {
      void other.consume('conductor', resolve, { noAck: true });
    });
    const call = rpc
      .call({ topic: 'conductor', version: '3.0' }, 'm', {}, { timeoutMs: 60_000 })
      .catch(() => undefined);
    const message = await received;
    const like = wire('libvirt').find(
      ({ way, properties }) => way === 'deliver' && properties?.['expiration'],
    );
    expect(like?.properties).toMatchObject({ expiration: '60000' });
    const { contentType, contentEncoding, deliveryMode, priority, expiration } = message?.properties ?? {};
    expect({
      content_type: contentType,
      content_encoding: contentEncoding,
      delivery_mode: deliveryMode,
      priority,
    }).toEqual({
      content_type: like?.properties?.['content_type'],
      content_encoding: like?.properties?.['content_encoding'],
      delivery_mode: like?.properties?.['delivery_mode'],
      priority: like?.properties?.['priority'],
    });
    expect(Number(expiration)).toBeGreaterThan(50_000);
    expect(Number(expiration)).toBeLessThanOrEqual(60_000);
    const inner = JSON.parse(JSON.parse(message?.content.toString() ?? '')['oslo.message']);
    await other.assertQueue(inner._reply_q, { durable: false, arguments: { 'x-expires': 1_800_000 } });
    await rpc.close();
    await call;
    await other.deleteQueue('conductor');
  });

  it('answers many at once', async () => {
    const { broker } = open();
    const { host } = await serve(broker, { echo: ({ n }) => n });
    const rpc = await client(broker);
    const numbers = Array.from({ length: 300 }, (_, n) => n);
    expect(await Promise.all(numbers.map((n) => rpc.call(at(host), 'echo', { n })))).toEqual(numbers);
  });

  it('is told where a queue is there with other properties', async () => {
    const other = await channel();
    await other.assertQueue('odd', { durable: false, autoDelete: true });
    const { broker } = open();
    const consuming = broker.consume({ name: 'odd' }, { prefetch: 1, onDelivery: () => undefined });
    await expect(consuming).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(
      broker.publish({
        exchange: { name: 'amq.topic', type: 'fanout', durable: true },
        key: '',
        body: Buffer.from(''),
      }),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await broker.publish({ key: 'nobody', body: Buffer.from(''), mandatory: true })).toBe(
      'unroutable',
    );
    await other.deleteQueue('odd');
  });

  it('consumes again after somebody deleted its queue', async () => {
    const { broker, history } = open();
    const { host } = await serve(broker, { m: () => 'done' });
    const rpc = await client(broker);
    await (await channel()).deleteQueue(`compute.${host}`);
    expect(await rpc.call(at(host), 'm', {})).toBe('done');
    expect(history()).toEqual(['connected', 'disconnected', 'connected']);
  });
});

describe('a connection that breaks', () => {
  it('costs no call, no command and no answer', async () => {
    const { url, cut } = await network();
    const { broker, history } = open({ url });
    const done: unknown[] = [];
    let release = (_value: string): void => undefined;
    const { host } = await serve(broker, {
      long: () => new Promise<string>((resolve) => (release = resolve)),
      count: ({ n }) => done.push(n),
    });
    const rpc = await client(broker);
    const long = rpc.call(at(host), 'long', {});
    const casts: Promise<void>[] = [];
    for (let n = 0; n < 200; n++) {
      casts.push(rpc.cast(at(host), 'count', { n }));
      if (n % 50 === 25) {
        cut();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    await Promise.all(casts);
    await expect.poll(() => done.length, { timeout: 30_000 }).toBe(200);
    expect([...done].sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 200 }, (_, n) => n));
    release('at last');
    expect(await long).toBe('at last');
    expect(history().length).toBeGreaterThan(2);
  });

  it.each([
    ['is stopped by its operator', () => rabbitmq.halt()],
    ['is killed', () => rabbitmq.kill()],
  ])(
    'and a broker that %s in the middle of calls: what was lost is told, what waits arrives',
    async (_how, end) => {
      const { broker, history } = open();
      let asked = 0;
      let isBack = false;
      const done: unknown[] = [];
      const { host } = await serve(broker, {
        m: (_args, { signal }) => {
          asked++;
          return isBack ? 'again' : new Promise((resolve) => signal.addEventListener('abort', resolve));
        },
        count: ({ n }) => done.push(n),
      });
      const rpc = await client(broker);
      const once = rpc.call(at(host), 'm', {}).catch((error: unknown) => error);
      const again = rpc.call(at(host), 'm', {}, { idempotent: true });
      await expect.poll(() => asked, { timeout: 30_000 }).toBe(2);
      await end();
      await expect.poll(history, { timeout: 30_000 }).toEqual(['connected', 'disconnected']);
      const casts = [1, 2, 3].map((n) => rpc.cast(at(host), 'count', { n }, { timeoutMs: 120_000 }));
      isBack = true;
      await rabbitmq.start();
      await Promise.all(casts);
      expect(await once).toMatchObject({ code: 'CONNECTION_LOST', retryable: true });
      expect(await again).toBe('again');
      await expect.poll(() => done, { timeout: 30_000 }).toHaveLength(3);
      expect(history()).toEqual(['connected', 'disconnected', 'connected']);
    },
  );

  it('is noticed where nobody closes it: the broker hangs', async () => {
    const { broker, history, states } = open({ heartbeatSeconds: 1, connectTimeoutMs: 1000 });
    const { host } = await serve(broker, { m: () => 'done' });
    const rpc = await client(broker);
    rabbitmq.freeze();
    try {
      await expect.poll(history, { timeout: 60_000 }).toEqual(['connected', 'disconnected']);
      await expect.poll(() => states.length, { timeout: 60_000 }).toBeGreaterThan(2);
    } finally {
      rabbitmq.thaw();
    }
    expect(await rpc.call(at(host), 'm', {})).toBe('done');
  });

  it('is made to the next host of the list', async () => {
    const { broker, states } = open({ url: `rabbit://127.0.0.1:1,127.0.0.1:${rabbitmq.port}/` });
    expect(await broker.publish({ key: 'nobody', body: Buffer.from('') })).toBe('delivered');
    expect(states.map(({ state, host }) => [state, host])).toEqual([
      ['disconnected', '127.0.0.1:1'],
      ['connected', `127.0.0.1:${rabbitmq.port}`],
    ]);
  });
});

describe('trust', () => {
  const url = (): string => `rabbit://guest:guest@127.0.0.1:${rabbitmq.tlsPort}/?ssl=1`;
  const ca = (): Buffer => readFileSync(join(directory, 'ca.pem'));

  it('goes to the authority that is named, in the options or in the URL', async () => {
    for (const options of [
      { url: url(), tls: { ca: ca() } },
      { url: `${url()}&ssl_ca_file=${join(directory, 'ca.pem')}` },
      { url: url(), tls: { ca: ca(), serverName: 'broker.test' } },
      { url: url(), tls: { verify: false } },
    ]) {
      const { broker } = open(options);
      expect(await broker.publish({ key: 'nobody', body: Buffer.from('') })).toBe('delivered');
    }
  });

  it.each([
    ['an authority nobody named', () => ({ url: url() })],
    ['a certificate for another name', () => ({ url: url(), tls: { ca: ca(), serverName: 'other.test' } })],
    ['a wrong password', () => ({ url: rabbitmq.url.replace('guest:guest', 'guest:sesame') })],
    ['no TLS where there must be', () => ({ url: rabbitmq.url, tls: { ca: ca() }, connectTimeoutMs: 2000 })],
  ])('does not go to %s', async (_what, options) => {
    const { broker, states } = open(options());
    await expect.poll(() => states.length, { timeout: 30_000 }).toBeGreaterThan(1);
    expect(
      states.every((state) => state.state === 'disconnected' && state.error.code === 'CONNECTION_FAILED'),
    ).toBe(true);
    await broker.close();
    expect(inspect(states, { depth: 10, showHidden: true })).not.toContain('sesame');
  });
});

it.each([
  ['garbage', (socket: Socket) => socket.write(Buffer.alloc(4096, 0xa5))],
  ['another version', (socket: Socket) => socket.write(Buffer.from('AMQP\x01\x01\x00\x0a'))],
  ['an endless frame', (socket: Socket) => socket.write(Buffer.from('01000000ffffff', 'hex'))],
  ['nothing', () => undefined],
  ['an end', (socket: Socket) => socket.end()],
  ['a reset', (socket: Socket) => socket.resetAndDestroy()],
])('who answers %s is no broker, and no harm', async (_what, answer) => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const { states, broker } = open({ url: `rabbit://127.0.0.1:${address.port}/`, connectTimeoutMs: 200 });
  await expect.poll(() => states.length, { timeout: 30_000 }).toBeGreaterThan(1);
  expect(
    states.every((state) => state.state === 'disconnected' && state.error.code === 'CONNECTION_FAILED'),
  ).toBe(true);
  await broker.close();
});
