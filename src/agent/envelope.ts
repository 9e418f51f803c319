// oslo.messaging's envelope, version 2.0: a JSON text inside a JSON text; requests, answers and failures.
import { createHash, randomUUID } from 'node:crypto';
import { ComputeError } from '../driver/errors.js';
import { type RemoteFailure, RpcFailure, unacceptable } from './errors.js';
import { DEFAULT_LIMITS, type JsonLimits, parseJson, REQUEST_LIMITS, stringifyJson } from './json.js';

const VERSION = '2.0';
const CONTEXT = '_context_';

/** User, project, request id, token ... of a request: passed on in what is asked for its sake. Holds a secret: never log it. */
export type RpcContext = Readonly<Record<string, unknown>>;

export interface RpcRequest {
  readonly method: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly args: Readonly<Record<string, unknown>>;
  readonly context: RpcContext;
  /** The same in each copy of this message. */
  readonly uniqueId: string;
  /** Undefined: a cast. */
  readonly answerTo: AnswerTo | undefined;
}

export interface AnswerTo {
  readonly messageId: string;
  readonly queue: string;
  /** The caller gives up after so long without a sign of life. */
  readonly silenceMs: number | undefined;
}

export interface RpcAnswer {
  readonly messageId: string;
  readonly result: unknown;
  readonly failure: RemoteFailure | undefined;
  /** False: a sign of life, the answer is still to come. */
  readonly ending: boolean;
}

/** 32 hex digits, as oslo.messaging makes them. */
export function newId(): string {
  return randomUUID().replaceAll('-', '');
}

/** Throws `TypeError` where an argument has no form in JSON. */
export function encodeRequest(request: RpcRequest): Buffer {
  const { method, args, namespace, version, answerTo, uniqueId, context } = request;
  return encode({
    method,
    args,
    ...(namespace !== undefined && { namespace }),
    version,
    ...(answerTo && {
      _msg_id: answerTo.messageId,
      _reply_q: answerTo.queue,
      _timeout: answerTo.silenceMs === undefined ? null : answerTo.silenceMs / 1000,
    }),
    _unique_id: uniqueId,
    ...Object.fromEntries(Object.entries(context).map(([name, value]) => [CONTEXT + name, value])),
  });
}

/** Throws `MESSAGE_UNACCEPTABLE`. */
export function decodeRequest(body: Buffer, limits: JsonLimits = REQUEST_LIMITS): RpcRequest {
  const message = open(body, limits);
  return {
    method: text(message, 'method'),
    version: message['version'] == null ? '1.0' : text(message, 'version'),
    namespace: message['namespace'] == null ? undefined : text(message, 'namespace'),
    args: message['args'] == null ? {} : record(message['args'], 'args'),
    context: Object.fromEntries(
      Object.entries(message).flatMap(([name, value]) =>
        name.startsWith(CONTEXT) ? [[name.slice(CONTEXT.length), value]] : [],
      ),
    ),
    uniqueId: uniqueId(message['_unique_id'], body),
    answerTo: message['_msg_id'] == null ? undefined : answerTo(message),
  };
}

export function encodeAnswer(answer: RpcAnswer): Buffer {
  const { result, failure, ending, messageId } = answer;
  return encode({
    result: result ?? null,
    failure: failure === undefined ? null : stringifyJson({ ...failure, tb: [] }),
    ending,
    _msg_id: messageId,
    _unique_id: newId(),
  });
}

/** Throws `MESSAGE_UNACCEPTABLE`. */
export function decodeAnswer(body: Buffer, limits: JsonLimits = DEFAULT_LIMITS): RpcAnswer {
  const message = open(body, limits);
  const { failure } = message;
  return {
    messageId: text(message, '_msg_id'),
    result: message['result'] ?? null,
    failure: failure == null ? undefined : decodeFailure(failure, limits),
    ending: message['ending'] === true,
  };
}

/** What an error of ours is to the caller: no stack, and no class that its side would have to know. */
export function failureOf(error: unknown): RemoteFailure {
  if (error instanceof RpcFailure) return error.failure;
  const code = ComputeError.is(error) ? error.code : 'INTERNAL';
  const message = error instanceof Error ? error.message : 'an internal error';
  return {
    class: 'ComputeError',
    module: 'node_compute',
    message: `${code}: ${message}`,
    args: [],
    kwargs: {},
  };
}

function encode(message: Readonly<Record<string, unknown>>): Buffer {
  return Buffer.from(JSON.stringify({ 'oslo.version': VERSION, 'oslo.message': stringifyJson(message) }));
}

function open(body: Buffer, limits: JsonLimits): Record<string, unknown> {
  if (body.length > limits.mostBytes) {
    throw unacceptable('too-large', `${body.length} bytes, at most ${limits.mostBytes}`);
  }
  const envelope = record(parseJson(utf8(body), limits), 'the envelope');
  const version = envelope['oslo.version'];
  const message = envelope['oslo.message'];
  // As oslo.messaging: the minor version may be any up to ours, of which there is one.
  if (version !== VERSION) throw unacceptable('envelope', 'its envelope is not of version 2.0');
  if (typeof message !== 'string') throw unacceptable('envelope', 'its envelope holds no text');
  return record(parseJson(message, limits), 'the message');
}

function utf8(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw unacceptable('encoding', 'it is not UTF-8');
  }
}

function decodeFailure(value: unknown, limits: JsonLimits): RemoteFailure {
  if (typeof value !== 'string') throw unacceptable('message', 'its failure is not a text');
  const failure = record(parseJson(value, limits), 'the failure');
  const message = failure['message'];
  return {
    class: text(failure, 'class'),
    module: text(failure, 'module'),
    // oslo.messaging appends the traceback.
    message: typeof message === 'string' ? (message.split('\n', 1)[0] ?? '') : '',
    args: Array.isArray(failure['args']) ? failure['args'] : [],
    kwargs: failure['kwargs'] == null ? {} : record(failure['kwargs'], 'kwargs'),
  };
}

function answerTo(message: Record<string, unknown>): AnswerTo {
  const timeout = message['_timeout'];
  if (timeout != null && !(typeof timeout === 'number' && timeout > 0)) {
    throw unacceptable('message', '_timeout is not a number of seconds');
  }
  return {
    messageId: text(message, '_msg_id'),
    queue: text(message, '_reply_q'),
    silenceMs: typeof timeout === 'number' ? timeout * 1000 : undefined,
  };
}

/** It names files of the journal. A copy of the same message without one has the same bytes. */
function uniqueId(value: unknown, body: Buffer): string {
  if (typeof value === 'string' && /^[\w-]{1,128}$/.test(value)) return value;
  return createHash('sha256').update(body).digest('hex');
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw unacceptable('message', `${what} is not an object`);
}

/** Of 1 to 255 bytes: names of methods, queues and ids, and AMQP's short strings. */
function text(message: Record<string, unknown>, name: string): string {
  const value = message[name];
  if (typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= 255) return value;
  throw unacceptable('message', `${name} is not a text of 1 to 255 bytes`);
}
