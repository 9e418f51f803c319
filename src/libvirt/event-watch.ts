// One wait for an event of a domain, made before the call that causes it.
import { ComputeError } from '../driver/errors.js';
import type { EventStream } from '../driver/event-stream.js';
import type { DriverEvent } from '../driver/model.js';
import type { NativeCallOptions } from '../native.js';

export type LifecycleOf = Extract<DriverEvent, { type: 'lifecycle' }>;

/** One subscription that gives the wanted events of a domain. */
export class EventWatch<E extends DriverEvent = LifecycleOf> implements Disposable {
  readonly #stop = new AbortController();
  readonly #events: AsyncIterableIterator<DriverEvent>;
  readonly #uuid: string;
  readonly #wanted: string;
  readonly #matches: (event: DriverEvent) => event is E;
  #pending: Promise<IteratorResult<DriverEvent>> | undefined;

  constructor(
    stream: EventStream,
    uuid: string,
    wanted: string,
    matches: (event: DriverEvent) => event is E,
  ) {
    this.#events = stream.subscribe({ signal: this.#stop.signal });
    this.#uuid = uuid;
    this.#wanted = wanted;
    this.#matches = matches;
  }

  /** The event. Rejects with `CONNECTION_LOST` when no event can come any more, `ABORTED`, `TIMEOUT`. */
  async next(context: NativeCallOptions & { readonly timeoutMs: number }): Promise<E> {
    let timer: NodeJS.Timeout | undefined;
    let onAbort = (): void => {};
    const ended = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(
          new ComputeError(
            'TIMEOUT',
            `${context.operation} of instance ${this.#uuid}: libvirt did not report it as ${this.#wanted} within ${context.timeoutMs} ms`,
            { ...context, retryable: true },
          ),
        );
      }, context.timeoutMs);
      onAbort = () =>
        reject(
          new ComputeError('ABORTED', `${context.operation} of instance ${this.#uuid} was aborted`, {
            ...context,
            cause: context.signal?.reason,
          }),
        );
      if (context.signal?.aborted) onAbort();
      else context.signal?.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([this.#find(context), ended]);
    } finally {
      clearTimeout(timer);
      context.signal?.removeEventListener('abort', onAbort);
    }
  }

  async #find(context: NativeCallOptions): Promise<E> {
    for (;;) {
      // Kept between calls of next(): one that ended with a TIMEOUT must not swallow the event that comes later.
      this.#pending ??= this.#events.next();
      const { done, value: event } = await this.#pending;
      this.#pending = undefined;
      if (done) throw new ComputeError('CLOSED', `${context.operation}: the driver was closed`, context);
      if (this.#matches(event)) return event;
      if (event.type === 'connection' && event.state === 'down') {
        throw new ComputeError(
          'CONNECTION_LOST',
          `${context.operation}: libvirt went away (${event.detail})`,
          {
            ...context,
            retryable: true,
          },
        );
      }
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}
