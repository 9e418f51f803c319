// What the stock host asked its conductor, asked by ours and answered as then.
import { describe, expect, it } from 'vitest';
import { Conductor } from '../../../src/agent/conductor.js';
import { ownContext } from '../../../src/agent/context.js';
import { decodeRequest, encodeAnswer, failureOf } from '../../../src/agent/envelope.js';
import { RpcFailure } from '../../../src/agent/errors.js';
import { decodeValue, encodeValue, type NovaObject } from '../../../src/agent/nova-object.js';
import { objectVersions } from '../../../src/agent/releases/release.js';
import { zed } from '../../../src/agent/releases/zed.js';
import { RpcClient } from '../../../src/agent/rpc-client.js';
import { findMethod, type RpcMethod } from '../../../src/agent/rpc-endpoint.js';
import { Schedulers } from '../../../src/agent/scheduler.js';
import { MemoryBroker } from '../../agent/memory-broker.js';
import { HOSTS, type Row, rows, wire } from '../../agent/traces.js';

// biome-ignore lint/suspicious/noExplicitAny: recorded values, of every type
type Fields = Record<string, any>;

const CONTROL = { name: 'nova', type: 'topic' } as const;

async function withConductor(
  answer: RpcMethod,
): Promise<{ conductor: Conductor; client: RpcClient; broker: MemoryBroker }> {
  const broker = new MemoryBroker();
  const methods = { ping: answer, object_action: answer, object_class_action_versions: answer };
  const endpoints = [
    { version: '3.0', methods },
    { namespace: 'baseapi', version: '1.0', methods },
  ];
  const queue = { name: 'conductor', bind: { exchange: CONTROL, key: 'conductor' } };
  await broker.consume(queue, {
    prefetch: 10,
    onDelivery: ({ body, ack }) => {
      ack();
      const request = decodeRequest(body);
      const { messageId = '', queue: key = '' } = request.answerTo ?? {};
      const reply = (result: unknown, failure?: unknown): void => {
        const sent = {
          messageId,
          result,
          failure: failure === undefined ? undefined : failureOf(failure),
          ending: true,
        };
        void broker.publish({ key, body: encodeAnswer(sent) });
      };
      const { method, context, uniqueId } = request;
      const invocation = {
        method,
        context,
        uniqueId,
        signal: new AbortController().signal,
        isRepeated: false,
      };
      Promise.resolve()
        .then(() => findMethod(endpoints, request).run(request.args, invocation))
        .then((result) => reply(result))
        .catch((error: unknown) => reply(null, error));
    },
  });
  const client = await RpcClient.open(broker, { context: ownContext() });
  return { conductor: new Conductor(client, zed), client, broker };
}

/** A conductor that answers `reply`, and what it was sent. */
async function recorded(): Promise<{ conductor: Conductor; exchange: { reply: unknown; sent: unknown } }> {
  const exchange: { reply: unknown; sent: unknown } = { reply: null, sent: null };
  const { conductor } = await withConductor((args) => {
    exchange.sent = args;
    return exchange.reply;
  });
  return { conductor, exchange };
}

function calls(host: (typeof HOSTS)[number], method: string): readonly Row[] {
  return rows(host).filter((row) => row.kind === 'call' && row.method === method && !('error' in row));
}

describe.each(HOSTS)('the calls of %s', (host) => {
  it('of classes are the same, and answered the same', async () => {
    const traced = calls(host, 'object_class_action_versions');
    expect(traced.length).toBeGreaterThan(30);
    const { conductor, exchange } = await recorded();
    for (const { args = {}, reply: answered } of traced) {
      const { objname, objmethod, args: positional, kwargs } = args as Fields;
      exchange.reply = answered;
      const result = await conductor.classAction(objname, objmethod, { args: positional, kwargs });
      expect(exchange.sent).toEqual({ ...args, object_versions: objectVersions(zed, objname) });
      expect(encodeValue(result)).toEqual(answered ?? null);
    }
  });

  it('of objects are the same, and leave them as the conductor said', async () => {
    const traced = calls(host, 'object_action');
    expect(traced.length).toBeGreaterThan(30);
    const { conductor, exchange } = await recorded();
    for (const { args = {}, reply: answered } of traced) {
      const { objinst, objmethod, args: positional, kwargs } = args as Fields;
      const object = decodeValue(objinst) as NovaObject;
      exchange.reply = answered;
      const result = await conductor.action(object, objmethod, { args: positional, kwargs });
      expect(exchange.sent).toEqual(args);
      const [updates, value] = answered as [Record<string, unknown>, unknown];
      expect(encodeValue(result) ?? null).toEqual(value);
      const { obj_what_changed: changed, ...fields } = updates;
      const data = object.encode()['nova_object.data'];
      expect(data).toMatchObject(fields);
      for (const field of changed as string[]) expect(object.changes).toContain(field);
    }
  });
});

describe('the conductor', () => {
  it('is asked by name for what a host needs', async () => {
    const asked: unknown[] = [];
    const replies: unknown[] = [];
    const { conductor } = await withConductor((args) => {
      const { objname, objmethod, args: positional, kwargs, objinst } = args as Fields;
      const name = objname ?? (objinst as unknown as Record<string, unknown>)?.['nova_object.name'];
      asked.push([name, objmethod, positional, kwargs]);
      const reply = replies.shift();
      if (reply instanceof Error) throw reply;
      return encodeValue(reply);
    });
    const service = conductor.newObject('Service', { host: 'h', report_count: 0 });
    expect(service.encode()).toMatchObject({
      'nova_object.version': '1.22',
      'nova_object.changes': ['host', 'report_count'],
    });
    const instance = conductor.newObject('Instance', { uuid: 'u' });
    const list = conductor.newObject('InstanceList', { objects: [instance] });
    const notFound = new RpcFailure({ class: 'ComputeHostNotFound', message: 'none' });
    replies.push({ service: 'conductor' }, 64, null, service, notFound, new Error('other'), list, null, null);
    await conductor.ping();
    expect(await conductor.minimumServiceVersion('nova-compute')).toBe(64);
    expect(await conductor.findService('h', 'nova-compute')).toBeUndefined();
    expect((await conductor.findService('h', 'nova-compute'))?.get('host')).toBe('h');
    expect(await conductor.findComputeNode('h', 'h')).toBeUndefined();
    await expect(conductor.findComputeNode('h', 'h')).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
    expect((await conductor.instancesOf('h', ['flavor'])).map((item) => item.get('uuid'))).toEqual(['u']);
    await conductor.startEvent('u', 'compute_stop', 'h');
    await conductor.finishEvent('u', 'compute_stop', { message: 'it failed' });
    replies.push([{ id: 1, obj_what_changed: [] }, null], [{ obj_what_changed: [] }, null], 'nonsense', null);
    await conductor.createFault({ instanceUuid: 'u', host: 'h', code: 500, message: 'm', details: 'd' });
    await conductor.save(instance, { expectedTaskState: ['scheduling', null] });
    expect(instance.changes).toEqual([]);
    await expect(conductor.save(instance)).rejects.toMatchObject({ code: 'MESSAGE_UNACCEPTABLE' });
    await expect(conductor.instance('u')).rejects.toMatchObject({ code: 'MESSAGE_UNACCEPTABLE' });
    expect(() => conductor.newObject('toString', {})).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(asked.slice(1)).toEqual([
      ['Service', 'get_minimum_version', ['nova-compute'], {}],
      ['Service', 'get_by_host_and_binary', ['h', 'nova-compute'], {}],
      ['Service', 'get_by_host_and_binary', ['h', 'nova-compute'], {}],
      ['ComputeNode', 'get_by_host_and_nodename', ['h', 'h'], {}],
      ['ComputeNode', 'get_by_host_and_nodename', ['h', 'h'], {}],
      ['InstanceList', 'get_by_host', ['h'], { expected_attrs: ['flavor'] }],
      ['InstanceActionEvent', 'event_start', ['u', 'compute_stop'], { want_result: false, host: 'h' }],
      [
        'InstanceActionEvent',
        'event_finish_with_failure',
        ['u', 'compute_stop'],
        { exc_val: 'it failed', exc_tb: null, want_result: false },
      ],
      ['InstanceFault', 'create', [], {}],
      ['Instance', 'save', [], { expected_task_state: ['scheduling', null] }],
      ['Instance', 'save', [], {}],
      ['Instance', 'get_by_uuid', ['u'], { expected_attrs: [] }],
    ]);
  });

  it('is asked again for what may be done twice, and for nothing else', async () => {
    let asked = 0;
    let reply: unknown;
    let hangs = true;
    const { conductor, broker } = await withConductor(() => {
      asked++;
      return hangs ? new Promise(() => undefined) : reply;
    });
    const instance = conductor.newObject('Instance', { uuid: 'u' });
    const lost = { code: 'CONNECTION_LOST', retryable: true };
    const guarded = expect(conductor.save(instance, { expectedTaskState: null })).rejects.toMatchObject(lost);
    const created = expect(conductor.create(instance)).rejects.toMatchObject(lost);
    const plain = conductor.save(instance);
    await expect.poll(() => asked).toBe(3);
    hangs = false;
    reply = [{ host: 'h', obj_what_changed: [] }, null];
    broker.restart();
    await Promise.all([guarded, created, plain]);
    expect([asked, instance.get('host')]).toEqual([4, 'h']);
  });

  it('gets the context of the host itself, with every field that Nova sends', async () => {
    const [message] = wire('libvirt').flatMap(({ body, way }) =>
      body && way === 'publish' ? [JSON.parse(body['oslo.message']) as Record<string, unknown>] : [],
    );
    const names = Object.keys(message ?? {}).flatMap((key) =>
      key.startsWith('_context_') ? [key.slice(9)] : [],
    );
    expect(Object.keys(ownContext()).sort()).toEqual(names.sort());
  });
});

it('the schedulers are told what the stock host tells them', async () => {
  const { client, broker } = await withConductor(() => null);
  const schedulers = new Schedulers(client, zed);
  const traced = rows('libvirt').filter(({ kind, topic }) => kind === 'cast' && topic === 'scheduler');
  expect(traced.length).toBeGreaterThan(3);
  for (const { method, args = {}, version } of traced) {
    const { host_name: host, instance_info: list, instance_uuid: uuid } = args as Fields;
    if (method === 'update_instance_info') {
      const items = (decodeValue(list) as NovaObject).get('objects') as NovaObject[];
      await schedulers.update(host, items);
    } else await schedulers.remove(host, uuid);
    const { exchange, body } = broker.published.at(-1) ?? {};
    expect(exchange).toMatchObject({ name: 'scheduler_fanout', type: 'fanout', autoDelete: true });
    const request = decodeRequest(body ?? Buffer.from(''));
    expect([request.method, request.version]).toEqual([method, version]);
    expect(request.args).toMatchObject({ host_name: host });
  }
  await schedulers.sync('h', ['u']);
  expect(decodeRequest(broker.published.at(-1)?.body ?? Buffer.from('')).args).toEqual({
    host_name: 'h',
    instance_uuids: ['u'],
  });
});
