// Takes requests from the queues of a topic, a host and its fanout, and has each done once, as oslo.messaging's RPCServer.

import { setMaxListeners } from 'node:events';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { type Release, Turnstile } from '../node/turns.js';
import { Answers } from './answers.js';
import { Backoff } from './backoff.js';
import type { Broker, Consumer, Delivery, Exchange, Queue } from './broker.js';
import { ByteBudget } from './byte-budget.js';
import type { CommandJournal, UnfinishedCommand } from './command-journal.js';
import { Deferred, until } from './deferred.js';
import { decodeRequest, newId, type RpcRequest } from './envelope.js';
import { type JsonLimits, REQUEST_LIMITS } from './json.js';
import { decodeValue } from './nova-object.js';
import { RecentIds } from './recent-ids.js';
import { fanoutExchange, TRANSIENT_QUEUE_MS } from './rpc-client.js';
import { findMethod, type RpcEndpoint, type RpcInvocation, type ServedMethod } from './rpc-endpoint.js';
import { spentError } from './spent-error.js';

export interface RpcServerOptions {
  /** E.g. `compute`. */
  readonly topic: string;
  readonly host: string;
  readonly endpoints: readonly RpcEndpoint[];
  readonly journal: CommandJournal;
  /** oslo.messaging's control_exchange. Default `nova`. */
  readonly exchange?: string;
  /** oslo.messaging's amqp_durable_queues: as all services of the cloud have it. Default false. */
  readonly durableQueues?: boolean;
  /** Messages of each queue that the broker hands out before the first is acknowledged. Default 64. */
  readonly prefetch?: number;
  /** Commands under way at once; further ones wait, acknowledged. Default 10. */
  readonly mostCommands?: number;
  /** By method: its commands have a line of their own and so many places, so that long ones do not hold up others. */
  readonly mostCommandsOf?: Readonly<Record<string, number>>;
  /** Commands that wait; beyond these the broker keeps them. Default 1000. */
  readonly mostWaiting?: number;
  /**
   * Bytes of messages that are taken and not done, in memory as in the journal; beyond these the broker keeps them. Read, a
   * message needs up to twenty times as much. Default 16 MiB.
   */
  readonly mostBytes?: number;
  /** Calls under way at once; further ones wait at the broker. Default 64. */
  readonly mostCalls?: number;
  readonly limits?: JsonLimits;
  /** Once it fires, a command that is rejected was cut short, and is done again at the next start. Default: from the close on. */
  readonly cutShort?: AbortSignal;
  /** What the sender will not hear of. Must not throw. */
  readonly onReport?: (report: RpcReport) => void;
}

export type RpcReport =
  /** It cannot be read, and is dropped. */
  | { readonly kind: 'unreadable'; readonly bytes: number; readonly error: ComputeError }
  | { readonly kind: 'duplicate'; readonly method: string; readonly uniqueId: string }
  /** A cast of no method or version that is served here. */
  | { readonly kind: 'refused'; readonly method: string; readonly uniqueId: string; readonly error: unknown }
  /** A command was rejected by its method. */
  | { readonly kind: 'failed'; readonly method: string; readonly uniqueId: string; readonly error: unknown }
  /** A command, or a message without one, that was under way in as many processes that died as the journal allows. */
  | { readonly kind: 'set-aside'; readonly uniqueId: string | undefined; readonly bytes: number }
  /** The journal could not be written: the broker keeps the command, and another try follows. */
  | { readonly kind: 'journal'; readonly error: unknown }
  /** Nobody takes the answer: the caller is gone. */
  | { readonly kind: 'answer-lost'; readonly method: string; readonly error: unknown };

/** Commands of it begin in the order in which they came, so many at once. */
interface Lane {
  readonly turnstile: Turnstile;
  last: Promise<void>;
}

/** A message that has its part of the bytes. */
interface Taken extends Delivery {
  /** Gives that back. Idempotent. */
  readonly leave: Release;
}

interface Place {
  readonly turnstile: Turnstile;
  readonly before: Promise<void>;
  /** Idempotent. */
  readonly leave: () => void;
}

/**
 * A call is acknowledged when its method begins, and answered; one that is refused, when its answer is on its way. A command
 * is written to the journal, acknowledged, and done when its turn comes; a copy of either is dropped by its `_unique_id`.
 * Commands that a process left unfinished are done first, those one at a time that were under way when it died.
 */
export class RpcServer {
  readonly #options: RpcServerOptions;
  readonly #answers: Answers;
  readonly #closing = new Deadline({ operation: 'RPC server' });
  readonly #calls: Turnstile;
  readonly #commands: Lane;
  readonly #lanes: ReadonlyMap<string, Lane>;
  readonly #accepted: Turnstile;
  readonly #bytes: ByteBudget;
  readonly #recent = new RecentIds();
  /** Of messages not yet acknowledged: a copy is acknowledged after the first. */
  readonly #taking = new Map<string, Promise<void>>();
  readonly #running = new Set<Promise<void>>();
  #consumers: readonly Consumer[] = [];

  /**
   * Resolves when all three queues are consumed, which waits for the broker, and those were told whose commands are not tried
   * again. Rejects as `Broker.consume`.
   */
  static async open(
    broker: Broker,
    options: RpcServerOptions & { readonly signal?: AbortSignal },
  ): Promise<RpcServer> {
    const server = new RpcServer(broker, options);
    const unfinished = await options.journal.unfinished();
    for (const { id } of unfinished) server.#recent.add(id);
    const held = new Map(unfinished.map(({ id, body }) => [id, server.#bytes.take(body.length)]));
    const redo: Redo = (command) => server.#redo(command).finally(held.get(command.id));
    const telling = inTurn(
      unfinished.filter(({ isSpent }) => isSpent),
      redo,
    );
    const rest = unfinished.filter(({ isSpent }) => !isSpent);
    server.#background(telling.then(() => resume(rest, redo)));
    try {
      await until(telling, options.signal);
      server.#consumers = await server.#consume(broker, options.signal);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  private constructor(broker: Broker, options: RpcServerOptions) {
    const { mostCalls = 64, mostCommands = 10, mostCommandsOf = {}, mostWaiting = 1000 } = options;
    this.#options = options;
    setMaxListeners(0, this.#closing.signal);
    this.#answers = new Answers(broker, (method, error) =>
      this.#report({ kind: 'answer-lost', method, error }),
    );
    this.#calls = new Turnstile(mostCalls);
    this.#commands = lane(mostCommands);
    const lanes = Object.entries(mostCommandsOf);
    this.#lanes = new Map(lanes.map(([method, most]) => [method, lane(most)]));
    const most = lanes.reduce((sum, [, width]) => sum + width, mostCommands);
    this.#accepted = new Turnstile(most + mostWaiting);
    this.#bytes = new ByteBudget(options.mostBytes ?? 16 * 1024 * 1024);
  }

  /**
   * Takes nothing more, ends the signal of what is under way, and waits for it. Commands that are unfinished then stay in
   * the journal. Idempotent.
   */
  async close(): Promise<void> {
    this.#closing.cancel(
      new ComputeError('CLOSED', 'the RPC server was closed', { operation: 'RPC server' }),
    );
    await Promise.all(this.#consumers.map((consumer) => consumer.cancel()));
    while (this.#running.size > 0) await Promise.all(this.#running);
    await this.#answers.close();
  }

  async #consume(broker: Broker, signal: AbortSignal | undefined): Promise<readonly Consumer[]> {
    const {
      topic,
      host,
      exchange: name = 'nova',
      durableQueues: durable = false,
      prefetch = 64,
    } = this.#options;
    const exchange: Exchange = { name, type: 'topic', durable };
    const queues: readonly Queue[] = [
      { name: topic, durable, bind: { exchange, key: topic } },
      { name: `${topic}.${host}`, durable, bind: { exchange, key: `${topic}.${host}` } },
      {
        name: `${topic}_fanout_${newId()}`,
        expiresMs: TRANSIENT_QUEUE_MS,
        bind: { exchange: fanoutExchange(topic), key: topic },
      },
    ];
    const onDelivery = (delivery: Delivery): void => this.#background(this.#take(delivery));
    return Promise.all(queues.map((queue) => broker.consume(queue, { prefetch, onDelivery, signal })));
  }

  /** Never rejects. A message that is left unacknowledged comes again when this server has closed. */
  async #take(delivery: Delivery): Promise<void> {
    const { body, redelivered } = delivery;
    const { journal } = this.#options;
    // Its length alone refuses it: it needs no place, and kills nobody.
    if (body.length > this.#limits.mostBytes) return this.#read({ ...delivery, leave: () => undefined });
    const leave = await this.#turn(() => this.#bytes.enter(body.length, this.#closing));
    if (!leave) return;
    const taken = { ...delivery, leave };
    if (redelivered && (await this.#journal(() => journal.suspect(body))) !== 'may-pass') {
      if (this.#closing.error) return;
      this.#report({ kind: 'set-aside', uniqueId: undefined, bytes: body.length });
      drop(taken);
      return;
    }
    const taking = this.#read(taken);
    // It has been read by now: that it waits for a place is no fault of its own.
    if (redelivered) await this.#journal(() => journal.clear(body));
    await taking;
  }

  async #read(delivery: Taken): Promise<void> {
    const { body } = delivery;
    let request: RpcRequest;
    try {
      request = decodeRequest(body, this.#limits);
    } catch (error) {
      this.#report({ kind: 'unreadable', bytes: body.length, error: error as ComputeError });
      drop(delivery);
      return;
    }
    await this.#accept(request, delivery);
  }

  async #accept(request: RpcRequest, delivery: Taken): Promise<void> {
    const { uniqueId, method } = request;
    if (!this.#recent.add(uniqueId)) {
      await this.#taking.get(uniqueId);
      if (!this.#closing.error) drop(delivery);
      this.#report({ kind: 'duplicate', method, uniqueId });
      return;
    }
    const taking = this.#begin(request, delivery);
    this.#taking.set(uniqueId, taking);
    await taking;
    this.#taking.delete(uniqueId);
  }

  async #begin(request: RpcRequest, delivery: Taken): Promise<void> {
    let served: ServedMethod;
    let args: Readonly<Record<string, unknown>>;
    try {
      served = findMethod(this.#options.endpoints, request);
      args = decodeValue(request.args) as Record<string, unknown>;
    } catch (error) {
      await this.#refuse(request, error);
      if (!this.#closing.error) drop(delivery);
      return;
    }
    const take = served.isCommand ? this.#command : this.#call;
    await take.call(this, request, served, args, delivery);
  }

  /** The broker forgets it only then: a process that dies before refuses it again. */
  async #refuse(request: RpcRequest, error: unknown): Promise<void> {
    const { answerTo, method, uniqueId } = request;
    if (!answerTo) this.#report({ kind: 'refused', method, uniqueId, error });
    else await until(this.#answers.failure(request, error), this.#closing.signal).catch(() => undefined);
  }

  async #call(
    request: RpcRequest,
    served: ServedMethod,
    args: Readonly<Record<string, unknown>>,
    delivery: Taken,
  ): Promise<void> {
    const release = await this.#turn(() => this.#calls.enter(this.#closing));
    if (!release) return;
    delivery.ack();
    const stop = this.#answers.signsOfLife(request);
    this.#background(
      this.#invoke(request, served, args)
        .then(
          (result) => this.#answers.result(request, result),
          (error: unknown) => void this.#answers.failure(request, error),
        )
        .finally(() => {
          stop();
          release();
          delivery.leave();
        }),
    );
  }

  async #command(
    request: RpcRequest,
    served: ServedMethod,
    args: Readonly<Record<string, unknown>>,
    delivery: Taken,
  ): Promise<void> {
    const { uniqueId, method } = request;
    const accepted = await this.#turn(() => this.#accepted.enter(this.#closing));
    if (!accepted) return;
    const release = (): void => {
      accepted();
      delivery.leave();
    };
    const place = this.#place(method);
    const outcome = await this.#journal(() => this.#options.journal.record(uniqueId, delivery.body));
    if (outcome !== undefined) delivery.ack();
    if (outcome === 'recorded') {
      this.#background(this.#execute(request, served, args, place, false).finally(release));
      return;
    }
    place.leave();
    release();
    if (outcome === 'known') this.#report({ kind: 'duplicate', method, uniqueId });
  }

  /** Never rejects. One that was called is answered: by the process that finishes it. */
  async #execute(
    request: RpcRequest,
    served: ServedMethod,
    args: Readonly<Record<string, unknown>>,
    place: Place = this.#place(request.method),
    isRepeated = true,
  ): Promise<void> {
    const { uniqueId, method } = request;
    const { journal } = this.#options;
    const stop = this.#answers.signsOfLife(request);
    await place.before;
    const release = await this.#turn(() => place.turnstile.enter(this.#closing));
    try {
      if (!release) return;
      const begun = await this.#journal(() => journal.begin(uniqueId));
      if (begun === 'spent') return await this.#abandon(request, served, args);
      if (begun === 'set-aside') this.#report({ kind: 'set-aside', uniqueId, bytes: 0 });
      if (begun !== 'begun') return;
      const done = this.#invoke(request, served, args, isRepeated);
      place.leave();
      try {
        this.#answers.result(request, await done);
      } catch (error) {
        if (this.#isCutShort) return await this.#write(() => journal.release(uniqueId));
        this.#report({ kind: 'failed', method, uniqueId, error });
        void this.#answers.failure(request, error);
      }
      await this.#write(() => journal.finish(uniqueId));
    } finally {
      stop();
      place.leave();
      release?.();
    }
  }

  /** Where the process dies over this, the next one sets it aside and no more. */
  async #abandon(
    request: RpcRequest,
    served: ServedMethod,
    args: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { uniqueId, method } = request;
    const { journal } = this.#options;
    try {
      await served.run.abandon?.(args, this.#invocation(request, true));
    } catch (error) {
      if (this.#isCutShort) return await this.#write(() => journal.release(uniqueId));
      this.#report({ kind: 'failed', method, uniqueId, error });
    }
    void this.#answers.failure(request, spentError(method));
    await this.#write(() => journal.setAside(uniqueId));
    this.#report({ kind: 'set-aside', uniqueId, bytes: 0 });
  }

  get #isCutShort(): boolean {
    return (this.#options.cutShort ?? this.#closing.signal).aborted;
  }

  /** Commands begin in the order in which they came, though the journal is written for many at once. */
  #place(method: string): Place {
    const lane = this.#lanes.get(method) ?? this.#commands;
    const { turnstile, last: before } = lane;
    const begun = new Deferred<void>();
    lane.last = begun.promise;
    return { turnstile, before, leave: () => begun.resolve() };
  }

  async #redo({ id, body }: UnfinishedCommand): Promise<void> {
    const { journal, endpoints } = this.#options;
    try {
      const request = { ...decodeRequest(body, this.#limits), uniqueId: id };
      await this.#execute(
        request,
        findMethod(endpoints, request),
        decodeValue(request.args) as Record<string, unknown>,
      );
    } catch (error) {
      // It was served when it was recorded: by another version of this program.
      this.#report({ kind: 'refused', method: 'unknown', uniqueId: id, error });
      await this.#write(() => journal.finish(id));
    }
  }

  async #invoke(
    request: RpcRequest,
    served: ServedMethod,
    args: Readonly<Record<string, unknown>>,
    isRepeated = false,
  ): Promise<unknown> {
    return served.run(args, this.#invocation(request, isRepeated));
  }

  #invocation({ method, context, uniqueId }: RpcRequest, isRepeated: boolean): RpcInvocation {
    return { method, context, uniqueId, signal: this.#closing.signal, isRepeated };
  }

  /** Tries until it succeeds; undefined where the server closes first. */
  async #journal<T>(write: () => Promise<T>): Promise<T | undefined> {
    const backoff = new Backoff();
    while (!this.#closing.error) {
      try {
        return await write();
      } catch (error) {
        this.#report({ kind: 'journal', error });
        await backoff.pause(this.#closing.signal).catch(() => undefined);
      }
    }
    return undefined;
  }

  /** Of a command that is over: where this fails it is done again at the next start. */
  async #write(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      this.#report({ kind: 'journal', error });
    }
  }

  /** Undefined where the server closes first. */
  async #turn(enter: () => Promise<Release>): Promise<Release | undefined> {
    try {
      return await enter();
    } catch {
      return undefined;
    }
  }

  get #limits(): JsonLimits {
    return this.#options.limits ?? REQUEST_LIMITS;
  }

  #background(work: Promise<void>): void {
    const running = work.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  #report(report: RpcReport): void {
    this.#options.onReport?.(report);
  }
}

function drop({ ack, leave }: Taken): void {
  ack();
  leave();
}

function lane(width: number): Lane {
  return { turnstile: new Turnstile(width), last: Promise.resolve() };
}

type Redo = (command: UnfinishedCommand) => Promise<void>;

async function inTurn(commands: readonly UnfinishedCommand[], redo: Redo): Promise<void> {
  for (const command of commands) await redo(command);
}

/** One of those that were under way when a process died killed it: alone, it costs the others no try. */
async function resume(commands: readonly UnfinishedCommand[], redo: Redo): Promise<void> {
  await inTurn(
    commands.filter(({ tries }) => tries > 0),
    redo,
  );
  await Promise.all(commands.filter(({ tries }) => tries === 0).map(redo));
}
