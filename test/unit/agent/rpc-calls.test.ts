import { describe, expect, it } from 'vitest';
import { decodeAnswer } from '../../../src/agent/envelope.js';
import { RemoteError, RpcFailure } from '../../../src/agent/errors.js';
import { NovaObject } from '../../../src/agent/nova-object.js';
import { MemoryBroker } from '../../agent/memory-broker.js';
import { compute, EXCHANGE, gate, open, serve } from '../../agent/rpc-rig.js';

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
