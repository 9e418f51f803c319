// The events of a driver: numbered at the source, read by any number of consumers.
import { Broadcast } from './broadcast.js';
import type { DriverEvent } from './model.js';

type WithoutSequence<E> = E extends unknown
  ? Omit<E, 'sequence' | 'timestamp'> & { readonly timestamp?: number }
  : never;

/** A {@link DriverEvent} before it is numbered; `timestamp` is the time of publishing where it is missing. */
export type UnnumberedEvent = WithoutSequence<DriverEvent>;

/** What {@link import('./compute-driver.js').ComputeDriver.events} gives out. */
export class EventStream {
  readonly #broadcast: Broadcast<DriverEvent>;
  #sequence = 0;

  /** @param capacity Events buffered for each consumer before the oldest are dropped. Default 4096. */
  constructor(capacity?: number) {
    this.#broadcast = new Broadcast<DriverEvent>({
      ...(capacity !== undefined && { capacity }),
      makeGap: (count, last) => ({
        type: 'gap',
        // The number of the newest dropped event: the next one read is its successor.
        sequence: last.sequence,
        timestamp: Date.now(),
        count,
      }),
    });
  }

  /** Consumers that are subscribed just now. */
  get consumers(): number {
    return this.#broadcast.readers;
  }

  /** Numbers the event, hands it to every consumer and returns it. Never waits, never throws. */
  publish(event: UnnumberedEvent): DriverEvent {
    this.#sequence += 1;
    const numbered = { timestamp: Date.now(), ...event, sequence: this.#sequence } as DriverEvent;
    this.#broadcast.publish(numbered);
    return numbered;
  }

  /**
   * Events published from now on. Ends after {@link close} (what is buffered is still read), or at once when the consumer
   * returns or `signal` fires.
   */
  subscribe(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterableIterator<DriverEvent> {
    return this.#broadcast.subscribe(options);
  }

  /** Idempotent. */
  close(): void {
    this.#broadcast.close();
  }
}
