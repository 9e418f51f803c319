import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { FileCommandJournal } from '../../../src/agent/command-journal.js';
import { decodeAnswer, encodeRequest, newId, type RpcRequest } from '../../../src/agent/envelope.js';
import { RemoteError, RpcFailure } from '../../../src/agent/errors.js';
import { NovaObject } from '../../../src/agent/nova-object.js';
import { RpcClient } from '../../../src/agent/rpc-client.js';
import { pingEndpoint, type RpcEndpoint, type RpcMethod } from '../../../src/agent/rpc-endpoint.js';
import { type RpcReport, RpcServer, type RpcServerOptions } from '../../../src/agent/rpc-server.js';
import { MemoryBroker } from '../../agent/memory-broker.js';

const EXCHANGE = { name: 'nova', type: 'topic' } as const;
const context = { request_id: 'req-1', auth_token: 'sesame' };

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'node-compute-rpc-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A promise, and what settles it. */
function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  let open!: (value: T) => void;
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

interface Rig {
  readonly broker: MemoryBroker;
  readonly server: RpcServer;
  readonly reports: RpcReport[];
  readonly send: (request: Partial<RpcRequest>, key?: string) => Promise<void>;
}

async function serve(
  methods: Readonly<Record<string, RpcMethod>>,
  options: Partial<RpcServerOptions> & { broker?: MemoryBroker } = {},
): Promise<Rig> {
  const { broker = new MemoryBroker(), ...rest } = options;
  const reports: RpcReport[] = [];
  const endpoints: RpcEndpoint[] = [pingEndpoint('compute'), { version: '6.1', methods }];
  const server = await RpcServer.open(broker, {
    topic: 'compute',
    host: 'h1',
    endpoints,
    journal: options.journal ?? (await FileCommandJournal.open(scratch())),
    onReport: (report) => reports.push(report),
    ...rest,
  });
  const send = async (request: Partial<RpcRequest>, key = 'compute.h1'): Promise<void> => {
    const body = encodeRequest({
      method: 'm',
      version: '6.0',
      namespace: undefined,
      args: {},
      context,
      uniqueId: newId(),
      answerTo: undefined,
      ...request,
    });
    await broker.publish({ exchange: EXCHANGE, key, body });
  };
  return { broker, server, reports, send };
}

const open = (broker: MemoryBroker): Promise<RpcClient> => RpcClient.open(broker, { context });
const compute = { topic: 'compute', server: 'h1', version: '6.0' };

describe('a call', () => {
  it('is answered, with objects both ways and the context of the request', async () => {
    const seen: unknown[] = [];
    const { broker, server } = await serve({
      echo: ({ object }, { context, method, uniqueId }) => {
        seen.push([method, context, uniqueId.length, (object as NovaObject).get('host')]);
        return [object, 2n ** 60n];
      },
    });
    const client = await open(broker);
    const object = NovaObject.create({ name: 'Instance', version: '2.7', fields: { host: 'h' } });
    const [same, big] = (await client.call(
      compute,
      'echo',
      { object },
      { context: { user: 'u' } },
    )) as unknown[];
    expect((same as NovaObject).encode()).toEqual(object.encode());
    expect(big).toBe(2n ** 60n);
    expect(seen).toEqual([['echo', { user: 'u' }, 32, 'h']]);
    const request = broker.published.find(({ exchange }) => exchange?.name === 'nova');
    expect(request).toMatchObject({ key: 'compute.h1', mandatory: true, outcome: 'delivered' });
    expect(request?.expirationMs).toBeGreaterThan(50_000);
    await client.close();
    await server.close();
  });

  it.each([
    ['ping', { topic: 'compute', version: '1.0', namespace: 'baseapi' }, { service: 'compute', arg: 'x' }],
    ['m', { topic: 'compute', version: '6.1' }, 'done'],
  ])('is served by namespace and version: %s', async (method, target, result) => {
    const { broker } = await serve({ m: () => 'done' });
    expect(await (await open(broker)).call(target, method, { arg: 'x' })).toEqual(result);
  });

  it.each([
    ['toString', '6.1', undefined, 'NoSuchMethod'],
    ['m', '6.2', undefined, 'UnsupportedVersion'],
    ['m', '5.0', undefined, 'UnsupportedVersion'],
    ['m', 'x', undefined, 'UnsupportedVersion'],
    ['m', '6.0', 'other', 'UnsupportedVersion'],
    ['m', '1.0', 'baseapi', 'NoSuchMethod'],
  ])('of what is not served is told so: %s %s %s', async (method, version, namespace, failureClass) => {
    const { broker, reports } = await serve({ m: () => 'done' });
    const target = { topic: 'compute', version, ...(namespace && { namespace }) };
    const error = await (await open(broker)).call(target, method, {}).catch((reason: unknown) => reason);
    expect(RemoteError.of(error, failureClass)).toBe(true);
    expect(error).toMatchObject({
      code: 'REMOTE_FAILED',
      remote: { module: 'oslo_messaging.rpc.dispatcher' },
    });
    expect(reports).toEqual([]);
  });

  it('that fails tells the exception that was chosen, or our code', async () => {
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = cyclic;
    const { broker } = await serve({
      chosen: () => {
        throw new RpcFailure({ class: 'InstanceNotFound', message: 'gone', kwargs: { instance_id: 'i' } });
      },
      other: async () => {
        throw new TypeError('a bug');
      },
      cyclic: () => cyclic,
    });
    const client = await open(broker);
    const failure = (method: string): Promise<unknown> =>
      client.call(compute, method, {}).catch((error) => error);
    expect(await failure('chosen')).toMatchObject({
      remote: { class: 'InstanceNotFound', module: 'nova.exception', kwargs: { instance_id: 'i' } },
    });
    expect(await failure('other')).toMatchObject({
      remote: { class: 'ComputeError', message: 'INTERNAL: a bug' },
    });
    expect(await failure('cyclic')).toMatchObject({ code: 'REMOTE_FAILED' });
  });

  it('ends by its deadline, its signal and the close of the client', async () => {
    const never = gate();
    const { broker } = await serve({ never: () => never.promise });
    const client = await open(broker);
    await expect(client.call(compute, 'never', {}, { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      operation: 'call never',
      retryable: true,
    });
    await expect(client.call(compute, 'never', {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    const waiting = expect(client.call(compute, 'never', {})).rejects.toMatchObject({ code: 'CLOSED' });
    await client.close();
    await waiting;
    await expect(client.call(compute, 'never', {})).rejects.toMatchObject({ code: 'CLOSED' });
    never.open();
  });

  it('that nobody takes is sent again until somebody does, or its time is over', async () => {
    const broker = new MemoryBroker();
    const client = await open(broker);
    await expect(client.call(compute, 'm', {}, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      details: { key: 'compute.h1' },
    });
    const early = client.call(compute, 'm', {});
    await expect.poll(() => broker.published.length).toBeGreaterThan(2);
    await serve({ m: () => 'late' }, { broker });
    expect(await early).toBe('late');
  });

  it('that takes long gives signs of life as often as the caller wants, which extend the call', async () => {
    const done = gate<string>();
    const { broker } = await serve({ long: () => done.promise });
    const client = await open(broker);
    const answer = client.call(compute, 'long', {}, { silenceMs: 600 });
    const signs = (): number => broker.published.filter(({ key }) => key.startsWith('reply_')).length;
    await expect.poll(signs, { timeout: 10_000 }).toBeGreaterThan(3);
    done.open('at last');
    expect(await answer).toBe('at last');
    const sent = signs();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(signs()).toBe(sent);
  });

  it('ends where the signs of life stop', async () => {
    const broker = new MemoryBroker();
    const client = await open(broker);
    const target = { topic: 'conductor', version: '3.0' };
    const queue = { name: 'conductor', bind: { exchange: EXCHANGE, key: 'conductor' } };
    await broker.consume(queue, { prefetch: 1, onDelivery: ({ ack }) => ack() });
    await expect(client.call(target, 'm', {}, { silenceMs: 30 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      details: { silenceMs: 30 },
    });
  });

  it('outlives a connection; where the broker lost the answer it is asked again, or told', async () => {
    let asked = 0;
    let answer = gate<string>();
    const { broker } = await serve({
      m: () => {
        asked++;
        return answer.promise;
      },
    });
    const client = await open(broker);
    const first = client.call(compute, 'm', {});
    await expect.poll(() => asked).toBe(1);
    broker.reconnect();
    answer.open('still');
    expect(await first).toBe('still');

    answer = gate();
    const once = expect(client.call(compute, 'm', {})).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      retryable: true,
    });
    const again = client.call(compute, 'm', {}, { idempotent: true });
    await expect.poll(() => asked).toBe(3);
    broker.restart();
    await once;
    await expect.poll(() => asked).toBe(4);
    answer.open('twice');
    expect(await again).toBe('twice');
  });

  it('waits at the broker where too many are under way', async () => {
    const gates: (() => void)[] = [];
    const { broker, send } = await serve(
      { m: () => new Promise<void>((resolve) => gates.push(resolve)) },
      { mostCalls: 2, prefetch: 3 },
    );
    broker.declare('reply');
    for (let count = 0; count < 6; count++) {
      await send({ answerTo: { messageId: `i${count}`, queue: 'reply', silenceMs: undefined } });
    }
    await expect.poll(() => gates.length).toBe(2);
    expect([broker.unacked, broker.depth('compute.h1')]).toEqual([3, 1]);
    for (let count = 0; count < 6; count++) {
      await expect.poll(() => gates.length).toBeGreaterThan(count);
      gates[count]?.();
    }
    await expect.poll(() => broker.depth('reply')).toBe(6);
    const ids = broker.take('reply').map((body) => decodeAnswer(body).messageId);
    expect(ids.sort()).toEqual(['i0', 'i1', 'i2', 'i3', 'i4', 'i5']);
  });

  it('of a caller who is gone is done, and its answer given up when the server closes', async () => {
    const { server, send, reports } = await serve({ m: () => 'for nobody' });
    await send({ answerTo: { messageId: 'i', queue: 'gone', silenceMs: undefined } });
    await server.close();
    expect(reports).toMatchObject([{ kind: 'answer-lost', method: 'm' }]);
  });
});

describe('a command', () => {
  it('is in the journal before the broker forgets it, and out of it when it is done', async () => {
    const journal = await FileCommandJournal.open(scratch());
    const recording = gate();
    const record = journal.record.bind(journal);
    journal.record = async (id, body) => {
      await recording.promise;
      return record(id, body);
    };
    const running = gate();
    const { broker, send } = await serve({ m: () => running.promise }, { journal });
    await send({ uniqueId: 'one' });
    expect(broker.unacked).toBe(1);
    recording.open();
    await expect.poll(() => broker.unacked).toBe(0);
    expect((await journal.unfinished()).map(({ id }) => id)).toEqual(['one']);
    running.open();
    await expect.poll(() => journal.unfinished()).toEqual([]);
  });

  it('is done once, whatever of it is doubled', async () => {
    let done = 0;
    const journal = await FileCommandJournal.open(scratch());
    const methods = { m: () => done++ };
    const { broker, server, send, reports } = await serve(methods, { journal });
    for (let count = 0; count < 3; count++) await send({ uniqueId: 'same' });
    await send({ uniqueId: 'same' }, 'compute');
    broker.reconnect();
    await expect.poll(() => done).toBe(1);
    await server.close();
    const next = await serve(methods, { journal });
    await next.send({ uniqueId: 'same' });
    await expect.poll(() => next.reports).toEqual([{ kind: 'duplicate', method: 'm', uniqueId: 'same' }]);
    expect(done).toBe(1);
    expect(reports.filter(({ kind }) => kind === 'duplicate').length).toBeGreaterThanOrEqual(3);
    expect(broker.unacked).toBe(0);
  });

  it('of a full disk stays at the broker, and is done when there is room', async () => {
    const files = await FileCommandJournal.open(scratch());
    let full = true;
    const record = files.record.bind(files);
    files.record = (id, body) => (full ? Promise.reject(new Error('no space')) : record(id, body));
    let done = 0;
    const { broker, send, reports } = await serve({ m: () => done++ }, { journal: files });
    await send({});
    await expect.poll(() => reports.length).toBeGreaterThan(0);
    expect(reports[0]).toMatchObject({ kind: 'journal' });
    expect([broker.unacked, done]).toEqual([1, 0]);
    full = false;
    await expect.poll(() => done, { timeout: 15_000 }).toBe(1);
    expect(broker.unacked).toBe(0);
  });

  it('waits its turn, and at the broker where too many wait', async () => {
    const gates: (() => void)[] = [];
    const { broker, send } = await serve(
      { m: () => new Promise<void>((resolve) => gates.push(resolve)) },
      { mostCommands: 2, mostWaiting: 3, prefetch: 4 },
    );
    for (let count = 0; count < 12; count++) await send({});
    await expect.poll(() => gates.length).toBe(2);
    await expect.poll(() => [broker.unacked, broker.depth('compute.h1')]).toEqual([4, 3]);
    for (let count = 0; count < 12; count++) {
      await expect.poll(() => gates.length).toBeGreaterThan(count);
      gates[count]?.();
    }
    await expect.poll(() => broker.unacked).toBe(0);
  });

  it('of a kind that takes long waits behind its own kind alone', async () => {
    const begun: string[] = [];
    const gates: (() => void)[] = [];
    const { broker, send } = await serve(
      {
        long: (_args, { uniqueId }) => {
          begun.push(uniqueId);
          return new Promise<void>((resolve) => gates.push(resolve));
        },
        short: (_args, { uniqueId }) => begun.push(uniqueId),
      },
      { mostCommands: 1, mostCommandsOf: { long: 1 } },
    );
    for (const uniqueId of ['long-1', 'long-2', 'long-3']) await send({ method: 'long', uniqueId });
    for (const uniqueId of ['short-1', 'short-2']) await send({ method: 'short', uniqueId });
    await expect.poll(() => [...begun].sort()).toEqual(['long-1', 'short-1', 'short-2']);
    await expect.poll(() => broker.unacked).toBe(0);
    for (let count = 0; count < 3; count++) {
      await expect.poll(() => gates.length).toBe(count + 1);
      gates[count]?.();
    }
    expect(begun.filter((id) => id.startsWith('long'))).toEqual(['long-1', 'long-2', 'long-3']);
  });

  it('that fails, or is not served, is reported and nothing more', async () => {
    const journal = await FileCommandJournal.open(scratch());
    const { broker, send, reports } = await serve(
      {
        bad: () => {
          throw new Error('refused');
        },
      },
      { journal },
    );
    await send({ method: 'bad', uniqueId: 'b' });
    await send({ method: 'unknown', uniqueId: 'u' });
    await send({ method: 'bad', uniqueId: 'o', args: { x: { 'nova_object.name': 1 } } });
    await broker.publish({ exchange: EXCHANGE, key: 'compute', body: Buffer.from('garbage') });
    await expect.poll(() => reports.length).toBe(4);
    expect(reports.map(({ kind }) => kind).sort()).toEqual(['failed', 'refused', 'refused', 'unreadable']);
    await expect.poll(() => journal.unfinished()).toEqual([]);
    expect(broker.unacked).toBe(0);
  });

  it('cut short by the close is done at the next start, and that is no try', async () => {
    const directory = scratch();
    const journal = await FileCommandJournal.open(directory);
    const begun: string[] = [];
    const rig = await serve(
      {
        m: (_args, { uniqueId, signal }) => {
          begun.push(uniqueId);
          return new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => reject(signal.reason)),
          );
        },
      },
      { journal, mostCommands: 1 },
    );
    await rig.send({ uniqueId: 'first', args: { n: 1 } });
    await rig.send({ uniqueId: 'second' });
    await expect.poll(() => begun).toEqual(['first']);
    await expect.poll(() => rig.broker.unacked).toBe(0);
    await rig.server.close();
    expect((await journal.unfinished()).map(({ id, tries }) => [id, tries])).toEqual([
      ['first', 0],
      ['second', 0],
    ]);
    const done: unknown[] = [];
    const next = {
      m: (args: unknown, { uniqueId, context }: { uniqueId: string; context: unknown }) =>
        done.push([uniqueId, args, context]),
    };
    await serve(next, { journal: await FileCommandJournal.open(directory), mostCommands: 1 });
    await expect
      .poll(() => done)
      .toEqual([
        ['first', { n: 1 }, context],
        ['second', {}, context],
      ]);
  });

  it('knows whether an earlier process has taken it', async () => {
    const directory = scratch();
    const before = await FileCommandJournal.open(directory);
    const rig = await serve({ m: () => new Promise(() => undefined) }, { journal: before });
    await rig.send({ uniqueId: 'taken' });
    await expect.poll(async () => (await before.unfinished()).length).toBe(1);
    const seen: unknown[] = [];
    const m: RpcMethod = (_args, { uniqueId, isRepeated }) => seen.push([uniqueId, isRepeated]);
    const next = await serve({ m }, { journal: await FileCommandJournal.open(directory) });
    await next.send({ uniqueId: 'new' });
    await expect
      .poll(() => [...seen].sort())
      .toEqual([
        ['new', false],
        ['taken', true],
      ]);
  });

  it('that kills its process is set aside after three tries, and costs the others none', async () => {
    const directory = scratch();
    // A process that dies leaves the journal as it is at that moment.
    const before = await FileCommandJournal.open(directory);
    const rig = await serve({ m: () => new Promise(() => undefined) }, { journal: before });
    for (const uniqueId of ['good', 'bad', 'other']) await rig.send({ uniqueId });
    await expect.poll(async () => (await before.unfinished()).map(({ tries }) => tries)).toEqual([1, 1, 1]);
    const done: string[] = [];
    for (let life = 2; life <= 3; life++) {
      const journal = await FileCommandJournal.open(directory);
      const methods: Record<string, RpcMethod> = {
        m: (_args, { uniqueId }) => (uniqueId === 'bad' ? new Promise(() => undefined) : done.push(uniqueId)),
      };
      await serve(methods, { journal });
      await expect
        .poll(async () => (await journal.unfinished()).map(({ id, tries }) => [id, tries]))
        .toEqual([
          ['bad', life],
          ['other', 1],
        ]);
    }
    expect(done).toEqual(['good']);
    const last = await serve(
      { m: (_args, { uniqueId }) => done.push(uniqueId) },
      { journal: await FileCommandJournal.open(directory) },
    );
    await expect.poll(() => done).toEqual(['good', 'other']);
    expect(last.reports).toMatchObject([{ kind: 'set-aside', uniqueId: 'bad' }]);
  });
});

it('a message that kills its reader is set aside after three tries; one that is only unreadable is forgotten', async () => {
  const directory = scratch();
  const journal = await FileCommandJournal.open(directory);
  const { broker, reports } = await serve({}, { journal });
  const [subscription] = broker.subscriptions;
  let acknowledged = 0;
  const deliver = async (text: string): Promise<string | undefined> => {
    const already = acknowledged;
    const ack = (): number => acknowledged++;
    subscription?.options.onDelivery({ body: Buffer.from(text), redelivered: true, ack });
    await expect.poll(() => acknowledged).toBe(already + 1);
    return reports.at(-1)?.kind;
  };
  for (let count = 0; count < 4; count++) {
    expect(await deliver('unreadable')).toBe('unreadable');
    await expect.poll(() => readdirSync(join(directory, 'suspects'))).toEqual([]);
  }
  // It came to three processes; each died before it could tell that it had read it.
  for (let life = 0; life < 2; life++) expect(await journal.suspect(Buffer.from('poison'))).toBe('may-pass');
  expect(await deliver('poison')).toBe('set-aside');
  expect(readdirSync(join(directory, 'set-aside'))).toHaveLength(1);
});

it('a message that only waits for a place is no suspect, however often it comes again', async () => {
  const directory = scratch();
  const hold = gate();
  const journal = await FileCommandJournal.open(directory);
  const clear = vi.spyOn(journal, 'clear');
  const { broker, send, reports } = await serve(
    { m: () => hold.promise },
    { journal, mostCommands: 1, mostWaiting: 0 },
  );
  await send({});
  await expect.poll(() => readdirSync(join(directory, 'commands'))).toHaveLength(1);
  const body = encodeRequest({
    method: 'm',
    version: '6.0',
    namespace: undefined,
    args: {},
    context,
    uniqueId: 'waits',
    answerTo: undefined,
  });
  let acknowledged = 0;
  const [subscription] = broker.subscriptions;
  for (let time = 1; time <= 4; time++) {
    subscription?.options.onDelivery({ body, redelivered: true, ack: () => acknowledged++ });
    await expect.poll(() => clear).toHaveBeenCalledTimes(time);
  }
  expect(acknowledged).toBe(0);
  hold.open();
  await expect.poll(() => acknowledged).toBe(4);
  expect(readdirSync(join(directory, 'set-aside'))).toEqual([]);
  expect(reports.map(({ kind }) => kind)).toEqual(['duplicate', 'duplicate', 'duplicate']);
});

it('a fanout reaches every server, or none', async () => {
  const broker = new MemoryBroker();
  const client = await open(broker);
  await client.fanout({ topic: 'compute', version: '6.0' }, 'm', {});
  const done: string[] = [];
  for (const host of ['h1', 'h2']) await serve({ m: () => done.push(host) }, { broker, host });
  await client.fanout({ topic: 'compute', version: '6.0' }, 'm', {});
  await expect.poll(() => done.sort()).toEqual(['h1', 'h2']);
  await client.cast({ topic: 'compute', server: 'h2', version: '6.0' }, 'm', {});
  await expect.poll(() => done).toHaveLength(3);
  expect(done.at(-1)).toBe('h2');
});
