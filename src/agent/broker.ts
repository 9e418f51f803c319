// The broker as the rest of the agent sees it: queues to consume, messages to publish, whatever happens to the connection.

export interface Exchange {
  readonly name: string;
  readonly type: 'topic' | 'fanout';
  readonly durable?: boolean;
  /** It goes with its last queue; then it is declared anew before each message. */
  readonly autoDelete?: boolean;
}

export interface Queue {
  readonly name: string;
  readonly durable?: boolean;
  /** It goes when nobody has consumed it for so long. Default: it stays. */
  readonly expiresMs?: number;
  /** Default: none but that of the default exchange, by its name. */
  readonly bind?: { readonly exchange: Exchange; readonly key: string };
}

export interface Publication {
  /** Default: the broker's default exchange, where the key names a queue. */
  readonly exchange?: Exchange;
  readonly key: string;
  readonly body: Buffer;
  /** The broker drops it where nobody has taken it by then. */
  readonly expirationMs?: number;
  /** Tells a message for no queue from one that was delivered; without it both are `delivered`. */
  readonly mandatory?: boolean;
}

export interface Delivery {
  readonly body: Buffer;
  /** It was delivered before and not acknowledged: to a process that died, or over a connection that broke. */
  readonly redelivered: boolean;
  /** Idempotent. Where the connection broke in between it has no effect, and the message comes again. */
  ack(): void;
}

export interface ConsumeOptions {
  /** Messages that may be delivered and not yet acknowledged. */
  readonly prefetch: number;
  /** Must not throw, and has to see to it that each message is acknowledged. */
  readonly onDelivery: (delivery: Delivery) => void;
  /** After a reconnect the queue was gone, with what was in it; it has been declared anew. */
  readonly onQueueLost?: () => void;
  readonly signal?: AbortSignal | undefined;
}

export interface Consumer {
  /** No further delivery. What was delivered may still be acknowledged. */
  cancel(): Promise<void>;
}

export interface Broker {
  /**
   * Declares the queue and what it is bound to, and consumes it until it is cancelled: after each reconnect both again.
   * Resolves when the broker delivers. Rejects with `ABORTED`, `CLOSED`, or where the broker refuses the declaration.
   */
  consume(queue: Queue, options: ConsumeOptions): Promise<Consumer>;
  /**
   * Resolves when the broker has it. Waits for a connection where there is none, and publishes again what the broker
   * had not confirmed when the connection broke: a message may arrive twice, with the same `_unique_id`. Rejects with
   * the signal's reason, `CLOSED`, or where the broker refuses the exchange.
   */
  publish(publication: Publication, signal?: AbortSignal): Promise<'delivered' | 'unroutable'>;
  /** Idempotent. Everything that waits rejects with `CLOSED`. */
  close(): Promise<void>;
}
