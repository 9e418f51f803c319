// Calls and casts to other services over the broker, as oslo.messaging's RPCClient makes them.

import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { Backoff } from './backoff.js';
import type { Broker, Consumer, Exchange, Publication } from './broker.js';
import { Deferred } from './deferred.js';
import { decodeAnswer, encodeRequest, newId, type RpcAnswer, type RpcContext } from './envelope.js';
import { RemoteError } from './errors.js';
import { DEFAULT_LIMITS, type JsonLimits } from './json.js';
import { decodeValue, encodeValue } from './nova-object.js';

/** oslo.messaging's rpc_response_timeout. */
const CALL_MS = 60_000;
/** The broker removes a reply queue that nobody has consumed for so long: oslo.messaging's rabbit_transient_queues_ttl. */
export const TRANSIENT_QUEUE_MS = 1_800_000;
const PREFETCH = 100;

export interface RpcTarget {
  readonly topic: string;
  /** One host of the topic. Default: whoever takes it first. */
  readonly server?: string;
  readonly version: string;
  readonly namespace?: string;
}

export interface CastOptions {
  /** Of the request that this is done for; default that of {@link RpcClientOptions}. */
  readonly context?: RpcContext;
  readonly signal?: AbortSignal;
  /** Default 60000. */
  readonly timeoutMs?: number;
  /** 32 hex digits: who has taken one message of that id drops the next. Default: a new one. */
  readonly uniqueId?: string;
}

export interface CallOptions extends Omit<CastOptions, 'uniqueId'> {
  /** The other side has to give a sign of life so often, and the call ends with `TIMEOUT` where it does not. Default: none is asked for. */
  readonly silenceMs?: number;
  /** To do it twice is to do it once: it is asked again where the broker lost the answer. Default false. */
  readonly idempotent?: boolean;
}

export interface RpcClientOptions {
  /** Of calls that no request asked for. */
  readonly context: RpcContext;
  /** oslo.messaging's control_exchange. Default `nova`. */
  readonly exchange?: string;
  readonly limits?: JsonLimits;
  /** An answer that cannot be read: who waits for it will time out. Must not throw. */
  readonly onUnreadable?: (error: unknown) => void;
}

interface Waiter {
  /** Names the failure. */
  readonly operation: string;
  readonly answer: Deferred<unknown>;
  readonly onSignOfLife: () => void;
  isPublished: boolean;
}

/** The broker went away with the reply queue, and the answer in it. */
class AnswerLost extends ComputeError {}

/** One for the whole agent: it has one reply queue. */
export class RpcClient {
  readonly #broker: Broker;
  readonly #options: RpcClientOptions;
  readonly #exchange: Exchange;
  readonly #replyQueue = `reply_${newId()}`;
  readonly #waiters = new Map<string, Waiter>();
  #consumer: Consumer | undefined;
  #isClosed = false;

  /** Resolves when the reply queue is consumed, which waits for the broker. */
  static async open(
    broker: Broker,
    options: RpcClientOptions & { readonly signal?: AbortSignal },
  ): Promise<RpcClient> {
    const client = new RpcClient(broker, options);
    const queue = { name: client.#replyQueue, expiresMs: TRANSIENT_QUEUE_MS };
    client.#consumer = await broker.consume(queue, {
      prefetch: PREFETCH,
      signal: options.signal,
      onDelivery: ({ body, ack }) => {
        ack();
        client.#onAnswer(body);
      },
      onQueueLost: () => client.#onQueueLost(),
    });
    return client;
  }

  private constructor(broker: Broker, options: RpcClientOptions) {
    this.#broker = broker;
    this.#options = options;
    this.#exchange = { name: options.exchange ?? 'nova', type: 'topic' };
  }

  /**
   * Waits for the answer; objects in it are NovaObjects. While the broker is away, or nobody consumes the topic, the call
   * waits too. Rejects with `RemoteError`, `TIMEOUT`, `ABORTED`, `CLOSED`, or `CONNECTION_LOST` (retryable) where the
   * broker lost the answer: then whether it was done is not known. An answer outlives a connection that breaks.
   */
  async call(
    target: RpcTarget,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions = {},
  ): Promise<unknown> {
    const { signal, timeoutMs = CALL_MS, idempotent = false } = options;
    const operation = `call ${method}`;
    using deadline = new Deadline({ operation, signal, timeoutMs });
    const end = performance.now() + timeoutMs;
    for (;;) {
      try {
        return await this.#call(target, method, args, { ...options, operation, deadline, end });
      } catch (error) {
        if (!(idempotent && error instanceof AnswerLost) || deadline.error) throw error;
      }
    }
  }

  /** Resolves when the broker has it in the queue of somebody. Rejects with `TIMEOUT`, `ABORTED` or `CLOSED`. */
  async cast(
    target: RpcTarget,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CastOptions = {},
  ): Promise<void> {
    const { signal, timeoutMs = CALL_MS } = options;
    using deadline = new Deadline({ operation: `cast ${method}`, signal, timeoutMs });
    const body = this.#encode(target, method, args, options);
    await this.#publish({ exchange: this.#exchange, key: keyOf(target), body, mandatory: true }, deadline);
  }

  /** A cast to every server of the topic, of which there may be none. */
  async fanout(
    target: Omit<RpcTarget, 'server'>,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CastOptions = {},
  ): Promise<void> {
    const { signal, timeoutMs = CALL_MS } = options;
    using deadline = new Deadline({ operation: `fanout ${method}`, signal, timeoutMs });
    const exchange = fanoutExchange(target.topic);
    const body = this.#encode(target, method, args, options);
    await this.#publish({ exchange, key: '', body }, deadline);
  }

  /** Calls under way reject with `CLOSED`. Idempotent; the broker stays open. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { operation, answer } of this.#waiters.values()) answer.reject(closedError(operation));
    await this.#consumer?.cancel();
  }

  async #call(
    target: RpcTarget,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions & {
      readonly operation: string;
      readonly deadline: Deadline;
      readonly end: number;
    },
  ): Promise<unknown> {
    const { operation, deadline, silenceMs, end } = options;
    if (this.#isClosed) throw closedError(operation);
    const messageId = newId();
    using silence = new Silence(operation, silenceMs);
    const answer = new Deferred<unknown>();
    const onSignOfLife = (): void => silence.restart(answer);
    const waiter: Waiter = { operation, answer, onSignOfLife, isPublished: false };
    this.#waiters.set(messageId, waiter);
    try {
      const answerTo = { messageId, queue: this.#replyQueue, silenceMs };
      const body = this.#encode(target, method, args, { ...options, answerTo });
      const publication = { exchange: this.#exchange, key: keyOf(target), body, mandatory: true };
      await this.#publish(publication, deadline, end);
      waiter.isPublished = true;
      silence.restart(answer);
      return await deadline.race(answer.promise);
    } finally {
      this.#waiters.delete(messageId);
    }
  }

  #encode(
    target: RpcTarget,
    method: string,
    args: Readonly<Record<string, unknown>>,
    options: CastOptions & { readonly answerTo?: Parameters<typeof encodeRequest>[0]['answerTo'] },
  ): Buffer {
    return encodeRequest({
      method,
      version: target.version,
      namespace: target.namespace,
      args: encodeValue(args) as Record<string, unknown>,
      context: options.context ?? this.#options.context,
      uniqueId: options.uniqueId ?? newId(),
      answerTo: options.answerTo,
    });
  }

  /** After a start of the broker its queues come back one by one: what nobody could take yet is sent again. */
  async #publish(publication: Publication, deadline: Deadline, end?: number): Promise<void> {
    const backoff = new Backoff({ firstMs: 50, mostMs: 2000 });
    let unroutable = false;
    try {
      for (;;) {
        const expirationMs = end === undefined || end === Infinity ? undefined : end - performance.now();
        const message = {
          ...publication,
          ...(expirationMs !== undefined && { expirationMs: Math.max(1, expirationMs) }),
        };
        const outcome = await this.#broker.publish(message, deadline.signal);
        if (outcome === 'delivered') return;
        unroutable = true;
        await backoff.pause(deadline.signal);
      }
    } catch (error) {
      if (!unroutable || deadline.error?.code !== 'TIMEOUT') throw error;
      const { message, operation } = deadline.error;
      throw new ComputeError('TIMEOUT', `${message}: no service consumes ${publication.key}`, {
        operation,
        retryable: true,
        cause: error,
        details: { ...deadline.error.details, key: publication.key },
      });
    }
  }

  #onAnswer(body: Buffer): void {
    let answer: RpcAnswer;
    try {
      answer = decodeAnswer(body, this.#options.limits ?? DEFAULT_LIMITS);
    } catch (error) {
      this.#options.onUnreadable?.(error);
      return;
    }
    // None: it timed out here, or this is the copy of an answer.
    const waiter = this.#waiters.get(answer.messageId);
    if (!waiter) return;
    if (!answer.ending) waiter.onSignOfLife();
    else if (answer.failure) {
      waiter.answer.reject(new RemoteError(answer.failure, { operation: waiter.operation }));
    } else {
      try {
        waiter.answer.resolve(decodeValue(answer.result));
      } catch (error) {
        waiter.answer.reject(error);
      }
    }
  }

  #onQueueLost(): void {
    for (const { operation, answer, isPublished } of this.#waiters.values()) {
      if (!isPublished) continue;
      const message = `${operation}: the broker lost the answer, and whether it was done is not known`;
      answer.reject(new AnswerLost('CONNECTION_LOST', message, { operation, retryable: true }));
    }
  }
}

/** Ends a call that has had no sign of life for too long. */
class Silence implements Disposable {
  readonly #operation: string;
  readonly #mostMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(operation: string, mostMs: number | undefined) {
    this.#operation = operation;
    this.#mostMs = mostMs;
  }

  restart(answer: Deferred<unknown>): void {
    const mostMs = this.#mostMs;
    if (mostMs === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const message = `${this.#operation} had no sign of life for ${mostMs} ms`;
      const details = { silenceMs: mostMs };
      answer.reject(
        new ComputeError('TIMEOUT', message, { operation: this.#operation, retryable: true, details }),
      );
    }, mostMs);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

export function fanoutExchange(topic: string): Exchange {
  return { name: `${topic}_fanout`, type: 'fanout', autoDelete: true };
}

function keyOf({ topic, server }: RpcTarget): string {
  return server === undefined ? topic : `${topic}.${server}`;
}

/** Whether it is of what this client does, by the names that it gives that. */
export function isOfRpc({ operation = '' }: ComputeError): boolean {
  return /^(call|cast|fanout) /.test(operation);
}

function closedError(operation: string): ComputeError {
  return new ComputeError('CLOSED', `${operation}: the client is closed`, { operation });
}
