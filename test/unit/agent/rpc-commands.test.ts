import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { FileCommandJournal } from '../../../src/agent/command-journal.js';
import type { RpcMethod } from '../../../src/agent/rpc-endpoint.js';
import { context, EXCHANGE, gate, message, scratch, serve } from '../../agent/rpc-rig.js';

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
    const abandoned: unknown[] = [];
    const m: RpcMethod = Object.assign<RpcMethod, Pick<RpcMethod, 'abandon'>>(
      (_args, { uniqueId }) => done.push(uniqueId),
      { abandon: async (args, { uniqueId }) => void abandoned.push([uniqueId, args]) },
    );
    const last = await serve({ m }, { journal: await FileCommandJournal.open(directory) });
    // Before anything else is done.
    expect(abandoned).toEqual([['bad', {}]]);
    expect(last.reports).toMatchObject([{ kind: 'set-aside', uniqueId: 'bad' }]);
    await expect.poll(() => done).toEqual(['good', 'other']);
  });

  it('that is given up does not hold up an open that is aborted, and is given up at the next', async () => {
    const directory = scratch();
    const before = await FileCommandJournal.open(directory, { mostTries: 1 });
    await before.record('bad', message({}));
    await before.begin('bad');
    const stop = new AbortController();
    const begun = gate();
    const m: RpcMethod = Object.assign<RpcMethod, Pick<RpcMethod, 'abandon'>>(() => undefined, {
      abandon: (_args, { signal }) => {
        begun.open();
        return new Promise((_resolve, reject) => signal.addEventListener('abort', reject));
      },
    });
    const journal = await FileCommandJournal.open(directory, { mostTries: 1 });
    const opening = serve({ m }, { journal, signal: stop.signal });
    await begun.promise;
    stop.abort(new Error('stopped'));
    await expect(opening).rejects.toThrow('stopped');
    expect(await journal.unfinished()).toMatchObject([{ id: 'bad', tries: 1, isSpent: true }]);
  });

  it('that fails while the server closes is over; one that is cut short is not', async () => {
    const journal = await FileCommandJournal.open(scratch());
    const end = new AbortController();
    const hold = gate();
    const rig = await serve(
      {
        fails: async () => {
          await hold.promise;
          throw new Error('refused');
        },
        waits: () => new Promise((_resolve, reject) => end.signal.addEventListener('abort', reject)),
      },
      { journal, cutShort: end.signal },
    );
    await rig.send({ method: 'fails', uniqueId: 'f' });
    await rig.send({ method: 'waits', uniqueId: 'w' });
    await expect.poll(async () => (await journal.unfinished()).map(({ tries }) => tries)).toEqual([1, 1]);
    const closed = rig.server.close();
    hold.open();
    await expect.poll(async () => (await journal.unfinished()).map(({ id }) => id)).toEqual(['w']);
    expect(rig.reports).toMatchObject([{ kind: 'failed', uniqueId: 'f' }]);
    end.abort();
    await closed;
    expect(await journal.unfinished()).toMatchObject([{ id: 'w', tries: 0 }]);
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
  const body = message({ uniqueId: 'waits' });
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
