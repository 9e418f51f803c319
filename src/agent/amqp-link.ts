// One connection to one broker, until it breaks: its channels, what is declared over it, what is not confirmed yet.
import type { Channel, ChannelModel, ConfirmChannel, ConsumeMessage } from 'amqplib';
import { ComputeError } from '../driver/errors.js';
import type { ConsumeOptions, Exchange, Publication, Queue } from './broker.js';
import { Deferred } from './deferred.js';

/** What AMQP answers to a declaration that will not be accepted the next time either. */
const ACCESS_REFUSED = 403;
const NOT_FOUND = 404;
const PRECONDITION_FAILED = 406;

const CLOSE_MS = 2000;

/** The link is of no use any more, or was not enough of one: the same again over the next. */
export class LinkLost extends Error {
  override readonly name = 'LinkLost';
}

export interface LinkConsumer {
  /** The queue was there before. */
  readonly existed: boolean;
  readonly cancel: () => Promise<void>;
}

export class AmqpLink {
  readonly #connection: ChannelModel;
  readonly #declared = new Set<string>();
  readonly #returned = new Set<string>();
  #publishing: Promise<ConfirmChannel> | undefined;
  #drained: Promise<void> | undefined;
  #publications = 0;
  #failure: Error | undefined;
  readonly #end = new Deferred<Error>();
  readonly #closed = new Deferred<void>();
  readonly #underWay = new Set<Deferred<never>>();
  #closing: Promise<void> | undefined;

  constructor(connection: ChannelModel) {
    this.#connection = connection;
    connection.on('error', (error) => this.fail(error));
    connection.on('close', (error?: Error) => {
      this.#closed.resolve();
      this.fail(error ?? new Error('the connection was closed'));
    });
  }

  /** Resolves with why it ended. */
  get ended(): Promise<Error> {
    return this.#end.promise;
  }

  /** Rejects with `LinkLost`, or with a ComputeError where the broker refuses the exchange. */
  publish(publication: Publication): Promise<'delivered' | 'unroutable'> {
    return this.#guarded(this.#publish(publication));
  }

  /** Rejects as {@link publish}. */
  consume(queue: Queue, options: ConsumeOptions): Promise<LinkConsumer> {
    return this.#guarded(this.#consume(queue, options));
  }

  async #publish(publication: Publication): Promise<'delivered' | 'unroutable'> {
    const { exchange, key, body, expirationMs, mandatory = false } = publication;
    const channel = await this.#publishChannel();
    if (exchange) await this.#declare(channel, exchange);
    await this.#drained;
    const messageId = String(++this.#publications);
    const options = {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      deliveryMode: 2,
      priority: 0,
      mandatory,
      ...(mandatory && { messageId }),
      ...(expirationMs !== undefined && { expiration: Math.ceil(expirationMs) }),
    };
    await new Promise<void>((resolve, reject) => {
      const onConfirm = (error: unknown): void => (error ? reject(lost(error)) : resolve());
      try {
        const roomLeft = channel.publish(exchange?.name ?? '', key, body, options, onConfirm);
        if (!roomLeft) this.#awaitDrain(channel);
      } catch (error) {
        reject(lost(error));
      }
    });
    // The broker sends back what it could not route before it confirms it.
    return this.#returned.delete(messageId) ? 'unroutable' : 'delivered';
  }

  async #consume(queue: Queue, options: ConsumeOptions): Promise<LinkConsumer> {
    const existed = await this.#exists(queue.name);
    const channel = await this.#channel(() => this.#connection.createChannel());
    let isConsumed = false;
    // Before, it is a refusal that is told; afterwards the consumers come back by a new connection.
    channel.on('error', (error) => isConsumed && this.fail(error));
    const { name, durable = false, expiresMs, bind } = queue;
    await settled(`queue ${name}`, async () => {
      await channel.prefetch(options.prefetch);
      const expires = expiresMs === undefined ? {} : { expires: expiresMs };
      await channel.assertQueue(name, { durable, autoDelete: false, exclusive: false, ...expires });
    });
    if (bind) {
      await this.#declare(channel, bind.exchange);
      await settled(`queue ${name}`, () => channel.bindQueue(name, bind.exchange.name, bind.key));
    }
    await settled(`queue ${name}`, () =>
      channel.consume(name, (message) => this.#deliver(channel, options, message)),
    );
    isConsumed = true;
    return { existed, cancel: () => this.#closeChannel(channel) };
  }

  /** The first reason stays. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#end.resolve(error);
    for (const work of this.#underWay) work.reject(lost(error));
    void this.close();
  }

  /** Waits for the broker to agree, not for long; idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#closed.isSettled) return;
    const destroy = (): void => {
      destroySocket(this.#connection);
      this.#closed.resolve();
    };
    const timer = setTimeout(destroy, CLOSE_MS);
    this.#connection.close().catch(destroy);
    await this.#closed.promise;
    clearTimeout(timer);
  }

  /** What amqplib would leave unsettled when the connection ends is settled. */
  async #guarded<T>(work: Promise<T>): Promise<T> {
    const guard = new Deferred<never>();
    this.#underWay.add(guard);
    if (this.#failure) guard.reject(lost(this.#failure));
    try {
      return await Promise.race([work, guard.promise]);
    } finally {
      this.#underWay.delete(guard);
    }
  }

  #deliver(channel: Channel, options: ConsumeOptions, message: ConsumeMessage | null): void {
    if (!message) {
      this.fail(new Error('the broker cancelled a consumer: its queue was deleted'));
      return;
    }
    let open = true;
    options.onDelivery({
      body: message.content,
      redelivered: message.fields.redelivered,
      ack: () => {
        if (!open) return;
        open = false;
        try {
          channel.ack(message);
        } catch {
          // The channel is closed: the broker delivers it again.
        }
      },
    });
  }

  /** A channel ends with the first refusal of the broker: the next publication gets another. */
  #publishChannel(): Promise<ConfirmChannel> {
    this.#publishing ??= this.#channel(() => this.#connection.createConfirmChannel()).then(
      (channel) => {
        channel.on('error', () => undefined);
        channel.on('close', () => {
          this.#publishing = undefined;
        });
        channel.on('return', ({ properties }) => {
          if (typeof properties.messageId === 'string') this.#returned.add(properties.messageId);
        });
        return channel;
      },
      (error: unknown) => {
        this.#publishing = undefined;
        throw error;
      },
    );
    return this.#publishing;
  }

  #awaitDrain(channel: Channel): void {
    this.#drained ??= new Promise<void>((resolve) => {
      const onEnd = (): void => {
        this.#drained = undefined;
        channel.off('drain', onEnd);
        channel.off('close', onEnd);
        resolve();
      };
      channel.on('drain', onEnd);
      channel.on('close', onEnd);
    });
  }

  async #declare(channel: Channel, exchange: Exchange): Promise<void> {
    const { name, type, durable = false, autoDelete = false } = exchange;
    if (this.#declared.has(name)) return;
    await settled(`exchange ${name}`, () => channel.assertExchange(name, type, { durable, autoDelete }));
    if (!autoDelete) this.#declared.add(name);
  }

  async #exists(queue: string): Promise<boolean> {
    const channel = await this.#channel(() => this.#connection.createChannel());
    channel.on('error', () => undefined);
    try {
      await channel.checkQueue(queue);
    } catch (error) {
      // The channel is closed with it.
      if (codeOf(error) === NOT_FOUND) return false;
      throw refusedOrLost(`queue ${queue}`, error);
    }
    await this.#closeChannel(channel);
    return true;
  }

  /** A broker that does not agree to it soon is frozen: the link ends. */
  async #closeChannel(channel: Channel): Promise<void> {
    const silent = new Error('the broker does not answer');
    const timer = setTimeout(() => this.fail(silent), CLOSE_MS);
    await this.#guarded(channel.close()).catch(() => undefined);
    clearTimeout(timer);
  }

  async #channel<T extends Channel>(create: () => Promise<T>): Promise<T> {
    if (this.#failure) throw lost(this.#failure);
    try {
      return await create();
    } catch (error) {
      throw lost(error);
    }
  }
}

async function settled<T>(subject: string, declare: () => Promise<T>): Promise<T> {
  try {
    return await declare();
  } catch (error) {
    throw refusedOrLost(subject, error);
  }
}

function refusedOrLost(subject: string, error: unknown): Error {
  const code = codeOf(error);
  if (code === ACCESS_REFUSED) {
    return new ComputeError('UNAUTHORIZED', `the broker refuses access to the ${subject}`, { cause: error });
  }
  if (code === PRECONDITION_FAILED) {
    const message = `the broker has the ${subject} with other properties: delete it there, or ask for the same`;
    return new ComputeError('INVALID_ARGUMENT', message, { cause: error });
  }
  return lost(error);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function lost(cause: unknown): LinkLost {
  return new LinkLost('the connection to the broker broke', { cause });
}

/**
 * A broker that is frozen, or gone without a word, never agrees: amqplib would keep the socket, its heartbeat's timers and
 * the process. It gives them up for an error of the socket, not for its mere end.
 */
function destroySocket(connection: ChannelModel): void {
  const { stream } = connection.connection as { stream?: { destroy?: (error: Error) => void } };
  stream?.destroy?.(new Error('the connection was given up'));
}
