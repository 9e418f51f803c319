// What a server does with more than it can hold, and with commands that somebody calls.
import { describe, expect, it, vi } from 'vitest';
import { FileCommandJournal } from '../../../src/agent/command-journal.js';
import { decodeAnswer } from '../../../src/agent/envelope.js';
import { RemoteError } from '../../../src/agent/errors.js';
import { REQUEST_LIMITS } from '../../../src/agent/json.js';
import { RpcServer } from '../../../src/agent/rpc-server.js';
import { MemoryBroker } from '../../agent/memory-broker.js';
import { compute, EXCHANGE, gate, message, open, scratch, serve } from '../../agent/rpc-rig.js';

const answerTo = { messageId: 'i', queue: 'reply', silenceMs: undefined };

describe('a flood', () => {
  it('waits at the broker where it has more bytes than may be held, and is done in its order', async () => {
    const begun: string[] = [];
    const gates: (() => void)[] = [];
    const pad = 'x'.repeat(1000);
    const { length } = message({ args: { pad } });
    const { broker, send } = await serve(
      {
        m: (_args, { uniqueId }) => {
          begun.push(uniqueId);
          return new Promise<void>((resolve) => gates.push(resolve));
        },
      },
      { mostBytes: 3 * length },
    );
    const ids = Array.from({ length: 9 }, (_, index) => `command-${index}`);
    for (const uniqueId of ids) await send({ uniqueId, args: { pad } });
    await expect.poll(() => begun.length).toBe(3);
    expect(broker.unacked).toBe(6);
    for (let count = 0; count < ids.length; count++) {
      await expect.poll(() => begun.length).toBeGreaterThan(count);
      gates[count]?.();
    }
    await expect.poll(() => broker.unacked).toBe(0);
    expect(begun).toEqual(ids);
  });

  it('of messages too large to be read is dropped though all places are taken, and never on disk', async () => {
    const journal = await FileCommandJournal.open(scratch());
    const hold = gate();
    const { broker, send, reports } = await serve({ m: () => hold.promise }, { journal, mostBytes: 1 });
    await send({});
    await expect.poll(async () => (await journal.unfinished()).length).toBe(1);
    const [subscription] = broker.subscriptions;
    const body = Buffer.alloc(REQUEST_LIMITS.mostBytes + 1, 0x20);
    let acknowledged = 0;
    journal.suspect = () => Promise.reject(new Error('it must not be written'));
    for (const redelivered of [true, false]) {
      subscription?.options.onDelivery({ body, redelivered, ack: () => acknowledged++ });
    }
    await expect.poll(() => acknowledged).toBe(2);
    expect(reports).toMatchObject([
      { kind: 'unreadable', error: { details: { rule: 'too-large' } } },
      { kind: 'unreadable', error: { details: { rule: 'too-large' } } },
    ]);
    hold.open();
  });

  it('that an earlier process has taken counts until it is done', async () => {
    const directory = scratch();
    const before = await FileCommandJournal.open(directory);
    await before.record('earlier', message({ uniqueId: 'earlier' }));
    const hold = gate();
    const done: string[] = [];
    const journal = await FileCommandJournal.open(directory);
    const record = vi.spyOn(journal, 'record');
    const { broker, send } = await serve(
      {
        m: async (_args, { uniqueId }) => {
          if (uniqueId === 'earlier') await hold.promise;
          done.push(uniqueId);
        },
      },
      { journal, mostBytes: 1 },
    );
    await send({ uniqueId: 'later' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(record).not.toHaveBeenCalled();
    expect(broker.unacked).toBe(1);
    hold.open();
    await expect.poll(() => done).toEqual(['earlier', 'later']);
  });
});

describe('a command that is called', () => {
  const rig = async (
    broker: MemoryBroker,
    directory: string,
    command: () => unknown,
  ): Promise<{ journal: FileCommandJournal; server: RpcServer }> => {
    const journal = await FileCommandJournal.open(directory);
    const endpoints = [{ version: '6.1', methods: {}, commands: { m: command } }];
    const server = await RpcServer.open(broker, { topic: 'compute', host: 'h1', endpoints, journal });
    return { journal, server };
  };

  it('is journaled, shows signs of life, and is answered when it is done', async () => {
    const broker = new MemoryBroker();
    const hold = gate<string>();
    const { journal } = await rig(broker, scratch(), () => hold.promise);
    const client = await open(broker);
    const answer = client.call(compute, 'm', {}, { silenceMs: 600 });
    await expect.poll(async () => (await journal.unfinished()).map(({ tries }) => tries)).toEqual([1]);
    const signs = (): number => broker.published.filter(({ key }) => key.startsWith('reply_')).length;
    await expect.poll(signs, { timeout: 10_000 }).toBeGreaterThan(2);
    hold.open('done');
    expect(await answer).toBe('done');
    await expect.poll(() => journal.unfinished()).toEqual([]);
  });

  it('that fails is told so', async () => {
    const broker = new MemoryBroker();
    const { journal } = await rig(broker, scratch(), () => {
      throw new Error('no');
    });
    const failure = await (await open(broker)).call(compute, 'm', {}).catch((error: unknown) => error);
    expect(RemoteError.of(failure, 'ComputeError')).toBe(true);
    await expect.poll(() => journal.unfinished()).toEqual([]);
  });

  it('is answered by the process that finishes it', async () => {
    const directory = scratch();
    const dead = new MemoryBroker();
    const { journal } = await rig(dead, directory, () => new Promise(() => undefined));
    await dead.publish({ exchange: EXCHANGE, key: 'compute.h1', body: message({ answerTo }) });
    await expect.poll(async () => (await journal.unfinished()).length).toBe(1);
    const broker = new MemoryBroker();
    broker.declare('reply');
    await rig(broker, directory, () => 'late');
    await expect.poll(() => broker.depth('reply')).toBe(1);
    expect(broker.take('reply').map((body) => decodeAnswer(body))).toMatchObject([
      { messageId: 'i', result: 'late', ending: true },
    ]);
  });
});

describe('a call that is refused', () => {
  it('is forgotten by the broker once the answer is on its way, not before', async () => {
    const { broker, send } = await serve({});
    broker.declare('reply');
    const publish = broker.publish.bind(broker);
    const hold = gate();
    broker.publish = async (publication, signal) => {
      if (publication.key === 'reply') await hold.promise;
      return publish(publication, signal);
    };
    await send({ method: 'unknown', answerTo });
    await new Promise((resolve) => setImmediate(resolve));
    expect([broker.unacked, broker.depth('reply')]).toEqual([1, 0]);
    hold.open();
    await expect.poll(() => [broker.unacked, broker.depth('reply')]).toEqual([0, 1]);
  });

  it('holds no place for a caller who is gone, nor the close for a broker that is', async () => {
    const { broker, send, server } = await serve({});
    await send({ method: 'unknown', answerTo });
    await expect.poll(() => broker.unacked).toBe(0);
    broker.publish = (_publication, signal) =>
      new Promise((_resolve, reject) =>
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true }),
      );
    const [subscription] = broker.subscriptions;
    let acknowledged = 0;
    const body = message({ method: 'unknown', answerTo });
    subscription?.options.onDelivery({ body, redelivered: false, ack: () => acknowledged++ });
    await new Promise((resolve) => setImmediate(resolve));
    await server.close();
    expect(acknowledged).toBe(0);
  });
});
