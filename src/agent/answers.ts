// Answers to callers: results, failures, signs of life; a caller who is gone costs a little patience, and no memory.

import { setMaxListeners } from 'node:events';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { Backoff } from './backoff.js';
import type { Broker } from './broker.js';
import { Deferred } from './deferred.js';
import { encodeAnswer, failureOf, type RpcAnswer, type RpcRequest } from './envelope.js';
import type { RemoteFailure } from './errors.js';
import { encodeValue } from './nova-object.js';

/** After a start of the broker a caller declares its reply queue anew: oslo.messaging waits as long. */
const PATIENCE_MS = 60_000;
/** Answers that wait for their queue; further ones are lost at once. */
const MOST_WAITING = 256;
/** oslo.messaging asks for a sign of life twice in each interval; more often than this is no use to anybody. */
const LEAST_INTERVAL_MS = 100;

/** setInterval takes anything longer for 1 ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const CLOSE_MS = 2000;

type OnLost = (method: string, error: unknown) => void;

export class Answers {
  readonly #broker: Broker;
  readonly #onLost: OnLost;
  readonly #closing = new AbortController();
  readonly #sending = new Set<Promise<void>>();
  #waiting = 0;

  constructor(broker: Broker, onLost: OnLost) {
    this.#broker = broker;
    this.#onLost = onLost;
    setMaxListeners(0, this.#closing.signal);
  }

  /** In the background. A result that has no form in JSON is a failure. */
  result(request: RpcRequest, result: unknown): void {
    void this.#finish(request, () => ({ result: encodeValue(result), failure: undefined }));
  }

  /** Resolves when the broker has it, or has nobody for it, or it is lost: what is left then goes on in the background. */
  failure(request: RpcRequest, error: unknown): Promise<void> {
    return this.#finish(request, () => ({ result: null, failure: failureOf(error) }));
  }

  /** Twice in each interval that the caller asked for, until it is stopped. */
  signsOfLife({ answerTo }: RpcRequest): () => void {
    if (answerTo?.silenceMs === undefined) return () => undefined;
    const { messageId, queue } = answerTo;
    const timer = setInterval(
      () => {
        const body = encodeAnswer({ messageId, result: null, failure: undefined, ending: false });
        // The next one may get through; the answer is what counts.
        this.#broker.publish({ key: queue, body }, this.#closing.signal).catch(() => undefined);
      },
      Math.max(LEAST_INTERVAL_MS, Math.min(answerTo.silenceMs / 2, LONGEST_TIMER_MS)),
    );
    timer.unref();
    return () => clearInterval(timer);
  }

  /** Answers that are being sent have a moment to get away. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#abort(), CLOSE_MS);
    await Promise.all(this.#sending);
    clearTimeout(timer);
    this.#abort();
  }

  #abort(): void {
    this.#closing.abort(new ComputeError('CLOSED', 'the RPC server was closed'));
  }

  #finish(
    request: RpcRequest,
    make: () => { readonly result: unknown; readonly failure: RemoteFailure | undefined },
  ): Promise<void> {
    const { answerTo, method } = request;
    if (!answerTo) return Promise.resolve();
    const offered = new Deferred<void>();
    const encode = (answer: Pick<RpcAnswer, 'result' | 'failure'>): Buffer =>
      encodeAnswer({ ...answer, messageId: answerTo.messageId, ending: true });
    let body: Buffer;
    try {
      body = encode(make());
    } catch (error) {
      body = encode({ result: null, failure: failureOf(error) });
    }
    const sending = this.#send(answerTo.queue, body, () => offered.resolve())
      .catch((error: unknown) => this.#onLost(method, error))
      .finally(() => {
        offered.resolve();
        this.#sending.delete(sending);
      });
    this.#sending.add(sending);
    return offered.promise;
  }

  async #send(queue: string, body: Buffer, onOffered: () => void): Promise<void> {
    using deadline = new Deadline({
      operation: 'answer',
      signal: this.#closing.signal,
      timeoutMs: PATIENCE_MS,
    });
    const publish = (): Promise<'delivered' | 'unroutable'> =>
      this.#broker.publish({ key: queue, body, mandatory: true }, deadline.signal);
    const outcome = await publish();
    onOffered();
    if (outcome === 'delivered') return;
    if (this.#waiting >= MOST_WAITING) throw new ComputeError('QUEUE_FULL', 'the reply queue does not exist');
    this.#waiting++;
    try {
      const backoff = new Backoff({ firstMs: 250, mostMs: 4000 });
      do await backoff.pause(deadline.signal);
      while ((await publish()) === 'unroutable');
    } finally {
      this.#waiting--;
    }
  }
}
