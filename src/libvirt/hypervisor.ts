// The connection to libvirt: opened once, watched, opened again when a daemon went away; its events in our words.
import { ComputeError } from '../driver/errors.js';
import { EventStream } from '../driver/event-stream.js';
import type { DriverEvent, LifecycleEvent } from '../driver/model.js';
import type { ImageLogger } from '../image/types.js';
import {
  callNative,
  type NativeCallOptions,
  type NativeConnection,
  type NativeConnectOptions,
  type NativeDomain,
  type NativeEvent,
} from '../native.js';
import { blockJobStatus, closeReason, lifecycleEvent } from './states.js';

export interface HypervisorOptions {
  readonly uri: string;
  readonly logFile: string;
  readonly embedded: boolean;
  readonly logger: ImageLogger;
}

/** What every call carries from the contract down to the addon. */
export type CallContext = NativeCallOptions;

/** A libvirt call that says nothing for this long is given up: the daemon hangs. */
const CALL_TIMEOUT_MS = 60_000;
const RECONNECT_FIRST_MS = 100;
const RECONNECT_LONGEST_MS = 5_000;

export class Hypervisor {
  readonly events: EventStream = new EventStream();
  readonly #options: HypervisorOptions;
  #connection: NativeConnection | undefined;
  #closed = false;
  #reconnect: NodeJS.Timeout | undefined;

  constructor(options: HypervisorOptions) {
    this.#options = options;
  }

  /** Rejects with libvirt's own error; the caller knows more about an embedded root. */
  async open(context: CallContext): Promise<void> {
    const { uri, embedded, logFile } = this.#options;
    const options: NativeConnectOptions = {
      // In this very process there is nothing to keep alive.
      keepAliveInterval: embedded ? 0 : 5,
      keepAliveCount: 3,
      reapOrphans: embedded,
      logFile,
    };
    const connection = await callNative((addon, id) => addon.openConnection(uri, options, id), {
      timeoutMs: CALL_TIMEOUT_MS,
      ...context,
    });
    try {
      await callNative(
        (_addon, id) => connection.subscribe((batch) => this.#deliver(batch, connection), id),
        {
          timeoutMs: CALL_TIMEOUT_MS,
          ...context,
        },
      );
    } catch (error) {
      await connection.close(0);
      throw error;
    }
    if (this.#closed) {
      await connection.close(0);
      throw new ComputeError('CLOSED', 'the driver was closed while it connected', context);
    }
    this.#connection = connection;
  }

  /** Idempotent; waits for calls under way, at most until `timeoutMs`. */
  async close(timeoutMs: number = CALL_TIMEOUT_MS): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#reconnect);
    const connection = this.#connection;
    this.#connection = undefined;
    this.events.close();
    if (connection) {
      await callNative((_addon, id) => connection.close(id), { operation: 'close', timeoutMs });
    }
  }

  /** One call on the connection. Rejects with `CONNECTION_LOST` (retryable) while there is none. */
  async call<T>(
    context: CallContext,
    run: (connection: NativeConnection, callId: number) => Promise<T>,
  ): Promise<T> {
    const connection = this.#connection;
    if (!connection) {
      throw this.#closed
        ? new ComputeError('CLOSED', `${context.operation}: the driver is closed`, context)
        : new ComputeError(
            'CONNECTION_LOST',
            `${context.operation}: there is no connection to ${this.#options.uri} just now`,
            { ...context, retryable: true },
          );
    }
    return await callNative((_addon, id) => run(connection, id), { timeoutMs: CALL_TIMEOUT_MS, ...context });
  }

  /** The domain of that instance. Rejects with `INSTANCE_NOT_FOUND`. */
  async domain(uuid: string, context: CallContext): Promise<NativeDomain> {
    return await this.call(context, (connection, id) => connection.lookup(uuid, id));
  }

  /** One call on a domain. */
  async onDomain<T>(
    domain: NativeDomain,
    context: CallContext,
    run: (domain: NativeDomain, callId: number) => Promise<T>,
  ): Promise<T> {
    return await this.call(context, (_connection, id) => run(domain, id));
  }

  /**
   * Watches for a lifecycle event of one domain. Made before the call that causes it, since libvirt tells of an event
   * before that call returns. Dispose of it in every case.
   */
  watch(uuid: string, wanted: readonly LifecycleEvent[]): Watch {
    const matches = (event: DriverEvent): event is LifecycleOf =>
      event.type === 'lifecycle' && event.uuid === uuid && wanted.includes(event.event);
    return this.watchFor(uuid, wanted.join(' or '), matches);
  }

  /** The same for any kind of event; `wanted` names it for people. */
  watchFor<E extends DriverEvent>(
    uuid: string,
    wanted: string,
    matches: (event: DriverEvent) => event is E,
  ): Watch<E> {
    return new Watch(this.events, uuid, wanted, matches);
  }

  #deliver(batch: readonly NativeEvent[], source: NativeConnection): void {
    for (const event of batch) {
      switch (event.type) {
        case 'lifecycle': {
          const known = lifecycleEvent(event.event, event.detail);
          if (known) {
            const { uuid, name, timestamp } = event;
            this.events.publish({ type: 'lifecycle', uuid, name, timestamp, ...known });
          }
          break;
        }
        case 'block-job': {
          const { type, uuid, name, disk, timestamp } = event;
          this.events.publish({ type, uuid, name, disk, timestamp, status: blockJobStatus(event.status) });
          break;
        }
        case 'reboot':
        case 'device-removed':
        case 'device-removal-failed':
          this.events.publish(event);
          break;
        case 'gap':
          this.#options.logger.warn('events were lost: the event loop was blocked', { count: event.count });
          this.events.publish(event);
          break;
        case 'close':
          this.#lost(source, closeReason(event.reason), event.timestamp);
          break;
      }
    }
  }

  #lost(connection: NativeConnection, detail: string, timestamp: number): void {
    if (this.#closed || this.#connection !== connection) return;
    this.#connection = undefined;
    this.#options.logger.warn('the connection to libvirt was lost', { uri: this.#options.uri, detail });
    this.events.publish({ type: 'connection', state: 'down', detail, timestamp });
    // A handle of a lost connection never recovers; it is only let go.
    void connection.close(0).catch(() => undefined);
    this.#retry(RECONNECT_FIRST_MS);
  }

  #retry(delayMs: number): void {
    this.#reconnect = setTimeout(() => {
      this.open({ operation: 'reconnect' }).then(
        () => {
          this.#options.logger.info('connected to libvirt again', { uri: this.#options.uri });
          this.events.publish({ type: 'connection', state: 'up', detail: 'reconnected' });
        },
        (error: unknown) => {
          if (this.#closed) return;
          this.#options.logger.debug('libvirt cannot be reached yet', { error: String(error) });
          this.#retry(Math.min(delayMs * 2, RECONNECT_LONGEST_MS));
        },
      );
    }, delayMs);
    this.#reconnect.unref();
  }
}

type LifecycleOf = Extract<DriverEvent, { type: 'lifecycle' }>;

/** One subscription that gives the wanted events of a domain. */
export class Watch<E extends DriverEvent = LifecycleOf> implements Disposable {
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
  async next(context: CallContext & { readonly timeoutMs: number }): Promise<E> {
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

  async #find(context: CallContext): Promise<E> {
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
