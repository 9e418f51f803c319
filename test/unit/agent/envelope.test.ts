import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  failureOf,
  type RpcRequest,
} from '../../../src/agent/envelope.js';
import { RpcFailure } from '../../../src/agent/errors.js';
import { DEFAULT_LIMITS, parseJson, REQUEST_LIMITS, stringifyJson } from '../../../src/agent/json.js';
import { ComputeError } from '../../../src/driver/errors.js';
import { mutate } from '../../agent/mutate.js';
import { HOSTS, wire } from '../../agent/traces.js';

function envelope(message: unknown): Buffer {
  return Buffer.from(JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) }));
}

function inner(body: Buffer): Record<string, unknown> {
  return JSON.parse(JSON.parse(body.toString())['oslo.message']);
}

describe.each(HOSTS)('messages of the stock host %s', (host) => {
  const bodies = wire(host).flatMap(({ body }) => (body ? [body] : []));

  it('are read and written again as they were', () => {
    let requests = 0;
    let answers = 0;
    for (const body of bodies) {
      const message = JSON.parse(body['oslo.message']);
      if ('method' in message) {
        const again = inner(encodeRequest(decodeRequest(Buffer.from(JSON.stringify(body)))));
        expect(again).toEqual(message);
        requests++;
      } else if ('_msg_id' in message) {
        const answer = decodeAnswer(Buffer.from(JSON.stringify(body)));
        const again = inner(encodeAnswer(answer));
        expect({ ...again, _unique_id: message._unique_id }).toEqual(message);
        answers++;
      }
    }
    expect(requests).toBeGreaterThan(30);
    expect(answers).toBeGreaterThan(0);
  });
});

describe('a request', () => {
  it('defaults as in oslo.messaging', () => {
    expect(decodeRequest(envelope({ method: 'm', _unique_id: 'u' }))).toEqual({
      method: 'm',
      version: '1.0',
      namespace: undefined,
      args: {},
      context: {},
      uniqueId: 'u',
      answerTo: undefined,
    });
  });

  it('has the same id in each copy, though it has none that can name a file', () => {
    for (const id of [undefined, 7, '', '../../etc/passwd', 'x'.repeat(129)]) {
      const body = envelope({ method: 'm', _unique_id: id });
      const { uniqueId } = decodeRequest(body);
      expect(uniqueId).toMatch(/^[0-9a-f]{64}$/);
      expect(decodeRequest(Buffer.from(body)).uniqueId).toBe(uniqueId);
    }
  });

  it('keeps the silence that the caller bears in seconds', () => {
    const body = envelope({ method: 'm', _msg_id: 'i', _reply_q: 'q', _timeout: 1.5 });
    const request = decodeRequest(body);
    expect(request.answerTo).toEqual({ messageId: 'i', queue: 'q', silenceMs: 1500 });
    expect(inner(encodeRequest(request))).toMatchObject({ _timeout: 1.5 });
  });

  it('named after the prototype is data like any other', () => {
    const body = Buffer.from(
      JSON.stringify({
        'oslo.version': '2.0',
        'oslo.message':
          '{"method":"m","args":{"__proto__":{"admin":true}},"_context___proto__":{"admin":true}}',
      }),
    );
    const request = decodeRequest(body);
    expect((request.args as { admin?: unknown }).admin).toBeUndefined();
    expect((request.context as { admin?: unknown }).admin).toBeUndefined();
    expect(Object.keys(request.args)).toEqual(['__proto__']);
  });
});

describe('what is no message', () => {
  const message = (value: unknown): Buffer => envelope(value);
  const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  it.each([
    ['encoding', Buffer.from([0x22, 0xff, 0x22])],
    ['json', Buffer.from('')],
    ['json', Buffer.from('{"oslo.version":')],
    ['message', Buffer.from('[]')],
    ['envelope', Buffer.from('{"oslo.version":"1.0","oslo.message":"{}"}')],
    ['envelope', Buffer.from('{"oslo.version":"2.0","oslo.message":{}}')],
    ['too-deep', Buffer.from(nested)],
    [
      'too-deep',
      Buffer.from(JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': `{"args":${nested}}` })),
    ],
    ['too-large', Buffer.alloc(REQUEST_LIMITS.mostBytes + 1, 0x20)],
    ['too-many-values', Buffer.from(`[${'{},'.repeat(60_000)}{}]`)],
    ['number', Buffer.from('[18446744073709551616]')],
    ['number', Buffer.from('[-9223372036854775809]')],
    ['number', Buffer.from(`[-${'9'.repeat(1_000_000)}]`)],
    ['number', Buffer.from('{"a":2e308}')],
    ['number', Buffer.from('-1e99999')],
    ['number', Buffer.from(`[${'9'.repeat(1_000_000)}.5]`)],
    ['message', message(null)],
    ['message', message({})],
    ['message', message({ method: '' })],
    ['message', message({ method: 'm'.repeat(256) })],
    ['message', message({ method: 'm', args: [] })],
    ['message', message({ method: 'm', version: 3 })],
    ['message', message({ method: 'm', namespace: {} })],
    ['message', message({ method: 'm', _msg_id: 'i' })],
    ['message', message({ method: 'm', _msg_id: 'i', _reply_q: 'ü'.repeat(200) })],
    ['message', message({ method: 'm', _msg_id: 'i', _reply_q: 'q', _timeout: -1 })],
    ['message', message({ method: 'm', _msg_id: 'i', _reply_q: 'q', _timeout: '60' })],
  ])('is refused: %s %#', (rule, body) => {
    expect(() => decodeRequest(body)).toThrow(
      expect.objectContaining({ code: 'MESSAGE_UNACCEPTABLE', details: { rule } }),
    );
  });

  it('is refused as an answer', () => {
    for (const value of [
      {},
      { _msg_id: 'i', failure: {} },
      { _msg_id: 'i', failure: '{}' },
      { _msg_id: 'i', failure: '[' },
    ]) {
      expect(() => decodeAnswer(message(value))).toThrow(
        expect.objectContaining({ code: 'MESSAGE_UNACCEPTABLE' }),
      );
    }
  });
});

describe('a failure', () => {
  it('arrives with its class, without the traceback', () => {
    const failure = JSON.stringify({
      class: 'ComputeHostNotFound',
      module: 'nova.exception_Remote',
      message: 'Compute host x could not be found.\nTraceback (most recent call last):\n  File ...',
      tb: ['Traceback ...'],
      args: ['x'],
      kwargs: { host: 'x', code: 404 },
    });
    expect(decodeAnswer(envelope({ _msg_id: 'i', failure, result: null, ending: true })).failure).toEqual({
      class: 'ComputeHostNotFound',
      module: 'nova.exception_Remote',
      message: 'Compute host x could not be found.',
      args: ['x'],
      kwargs: { host: 'x', code: 404 },
    });
  });

  it('of ours has no stack', () => {
    const error = new ComputeError('INSTANCE_NOT_FOUND', 'no such instance');
    expect(failureOf(error)).toMatchObject({
      class: 'ComputeError',
      message: 'INSTANCE_NOT_FOUND: no such instance',
    });
    expect(failureOf('a text')).toMatchObject({ message: 'INTERNAL: an internal error' });
    const chosen = new RpcFailure({
      class: 'InstanceNotFound',
      message: 'gone',
      kwargs: { instance_id: 'x' },
    });
    const sent = inner(
      encodeAnswer({ messageId: 'i', result: null, failure: failureOf(chosen), ending: true }),
    );
    expect(JSON.parse(String(sent['failure']))).toEqual({
      class: 'InstanceNotFound',
      module: 'nova.exception',
      message: 'gone',
      args: [],
      kwargs: { instance_id: 'x' },
      tb: [],
    });
  });
});

describe('JSON of the wire', () => {
  it('keeps every digit of an integer, and only of an integer', () => {
    const text =
      '{"a":9007199254740993,"b":[-9223372036854775808,18446744073709551615],"c":[1234567890123456],"d":"9007199254740993","e":1.5}';
    const value = parseJson(text, DEFAULT_LIMITS) as Record<string, unknown>;
    expect(value).toEqual({
      a: 9007199254740993n,
      b: [-9223372036854775808n, 18446744073709551615n],
      c: [1234567890123456],
      d: '9007199254740993',
      e: 1.5,
    });
    expect(stringifyJson(value)).toBe(text);
    expect(parseJson('{"f":12345678901234567890.0,"g":1234567890123456789e2}', DEFAULT_LIMITS)).toEqual({
      f: Number('12345678901234567890.0'),
      g: Number('1234567890123456789e2'),
    });
  });

  it('is what JSON.parse makes of it, or refused', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        const text = JSON.stringify(value);
        const parse = (): unknown => parseJson(text, DEFAULT_LIMITS);
        if (hasLargeInteger(value)) expect(parse).toThrow('an integer of more than 64 bits');
        else expect(stringifyJson(parse())).toBe(JSON.stringify(JSON.parse(text)));
      }),
      { examples: [[[-(2 ** 63)]], [{ a: 2 ** 64 }], [2 ** 63], [1e21]] },
    );
  });
});

/** As it is written: not every number that is one has the form of one. */
function hasLargeInteger(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).some(hasLargeInteger);
  const digits = typeof value === 'number' && /^-?\d+$/.test(String(value)) ? BigInt(value.toString()) : 0n;
  return digits < -(2n ** 63n) || digits >= 2n ** 64n;
}

it('ten thousand mutated messages are read or refused with the one code, and leave no memory behind', () => {
  const bodies = HOSTS.flatMap((host) =>
    wire(host).flatMap(({ body }) => (body ? [Buffer.from(JSON.stringify(body))] : [])),
  );
  const outcomes = { read: 0, refused: 0 };
  const read = (decode: (body: Buffer) => RpcRequest | object, body: Buffer): void => {
    try {
      decode(body);
      outcomes.read++;
    } catch (error) {
      expect(error).toMatchObject({ code: 'MESSAGE_UNACCEPTABLE' });
      outcomes.refused++;
    }
  };
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let seed = 1; seed <= 10_000; seed++) {
    const body = mutate(bodies[seed % bodies.length] as Buffer, seed);
    read(decodeRequest, body);
    read(decodeAnswer, body);
  }
  globalThis.gc?.();
  expect(outcomes.refused).toBeGreaterThan(5000);
  expect(outcomes.read).toBeGreaterThan(100);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(16 * 1024 * 1024);
});
