// A broker in memory, with what the network and an operator do to a real one.
import type {
  Broker,
  ConsumeOptions,
  Consumer,
  Delivery,
  Publication,
  Queue,
} from '../../src/agent/broker.js';
import { ComputeError } from '../../src/driver/errors.js';

interface Message {
  readonly body: Buffer;
  redelivered: boolean;
}

interface Subscription {
  readonly queue: Queue;
  readonly options: ConsumeOptions;
  unacked: Set<Message>;
}

export interface Published extends Publication {
  readonly outcome: 'delivered' | 'unroutable';
}

export class MemoryBroker implements Broker {
  readonly published: Published[] = [];
  readonly subscriptions = new Set<Subscription>();
  readonly #queues = new Map<string, { readonly queue: Queue; messages: Message[] }>();
  #isClosed = false;

  async consume(queue: Queue, options: ConsumeOptions): Promise<Consumer> {
    this.#checkOpen();
    this.#declare(queue);
    const subscription: Subscription = { queue, options, unacked: new Set() };
    this.subscriptions.add(subscription);
    this.#pump();
    return {
      cancel: async () => {
        this.subscriptions.delete(subscription);
      },
    };
  }

  async publish(publication: Publication, signal?: AbortSignal): Promise<'delivered' | 'unroutable'> {
    this.#checkOpen();
    signal?.throwIfAborted();
    const queues = [...this.#queues.values()].filter(({ queue }) => isRouted(publication, queue));
    for (const { messages } of queues) messages.push({ body: publication.body, redelivered: false });
    const outcome = queues.length === 0 && publication.mandatory ? 'unroutable' : 'delivered';
    this.published.push({ ...publication, outcome });
    this.#pump();
    return outcome;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  /** A queue of nobody here. */
  declare(name: string): void {
    this.#declare({ name });
  }

  take(name: string): Buffer[] {
    const entry = this.#queues.get(name);
    return entry ? entry.messages.splice(0).map(({ body }) => body) : [];
  }

  depth(name: string): number {
    return this.#queues.get(name)?.messages.length ?? 0;
  }

  get unacked(): number {
    return [...this.subscriptions].reduce((sum, { unacked }) => sum + unacked.size, 0);
  }

  /** The connection breaks and is made again. */
  reconnect(): void {
    for (const { queue, unacked } of this.subscriptions) {
      const messages = [...unacked];
      unacked.clear();
      for (const message of messages) message.redelivered = true;
      this.#queues.get(queue.name)?.messages.unshift(...messages);
    }
    this.#pump();
  }

  /** All queues were in its memory. */
  restart(): void {
    this.#queues.clear();
    for (const { queue, options, unacked } of this.subscriptions) {
      unacked.clear();
      this.#declare(queue);
      options.onQueueLost?.();
    }
  }

  #declare(queue: Queue): void {
    if (!this.#queues.has(queue.name)) this.#queues.set(queue.name, { queue, messages: [] });
  }

  #pump(): void {
    for (const subscription of this.subscriptions) {
      const { queue, options, unacked } = subscription;
      const messages = this.#queues.get(queue.name)?.messages ?? [];
      while (unacked.size < options.prefetch) {
        const message = messages.shift();
        if (!message) break;
        unacked.add(message);
        options.onDelivery(this.#delivery(message, unacked));
      }
    }
  }

  #delivery(message: Message, unacked: Set<Message>): Delivery {
    return {
      body: message.body,
      redelivered: message.redelivered,
      ack: () => {
        if (unacked.delete(message)) queueMicrotask(() => this.#pump());
      },
    };
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new ComputeError('CLOSED', 'the broker is closed');
  }
}

function isRouted({ exchange, key }: Publication, { name, bind }: Queue): boolean {
  if (!exchange) return name === key;
  return bind?.exchange.name === exchange.name && (exchange.type === 'fanout' || bind.key === key);
}
