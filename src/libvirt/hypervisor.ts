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
  type NativeDomainRecord,
  type NativeEvent,
} from '../native.js';
import { DomainStates } from './domain-states.js';
import { EventWatch, type LifecycleOf } from './event-watch.js';
import { guestEvent } from './guest-events.js';
import { Pulse } from './pulse.js';
import { blockJobStatus, closeReason, lifecycleEvent } from './states.js';
import { DOMAIN_NAMESPACE } from './xml/metadata.js';

export interface HypervisorOptions {
  readonly uri: string;
  readonly logFile: string;
  readonly embedded: boolean;
  /** Seconds; a libvirtd that has been silent for four times as long is given up. */
  readonly keepAliveSeconds: number;
  readonly logger: ImageLogger;
}

/** What every call carries from the contract down to the addon. */
export type CallContext = NativeCallOptions;

/** A libvirt call that says nothing for this long is given up: the daemon hangs. */
const CALL_TIMEOUT_MS = 60_000;
const RECONNECT_FIRST_MS = 100;
const RECONNECT_LONGEST_MS = 5_000;
/** A libvirtd that hangs accepts a connection and says nothing. */
const RECONNECT_TIMEOUT_MS = 30_000;
/** Attempts that hang in libvirt each hold a thread; no more than these. */
const HANGING_ATTEMPTS = 4;
/** What must not be left undone waits this long for a libvirtd that is being restarted. */
const PATIENCE_MS = 20_000;

export class Hypervisor {
  readonly events: EventStream = new EventStream();
  readonly #options: HypervisorOptions;
  #connection: NativeConnection | undefined;
  /** A handle of a lost connection never recovers. */
  readonly #owners = new WeakMap<NativeDomain, NativeConnection>();
  readonly #states = new DomainStates();
  #closed = false;
  #reconnect: NodeJS.Timeout | undefined;
  #attempts = 0;
  readonly #waiting: (() => void)[] = [];
  /** Ends a call whose answer nobody waits for any more. */
  readonly #inFlight = new Set<() => void>();
  #pulse: Pulse | undefined;
  #first = true;

  constructor(options: HypervisorOptions) {
    this.#options = options;
  }

  /** Rejects with libvirt's own error; the caller knows more about an embedded root. */
  async open(context: CallContext): Promise<void> {
    const { embedded, keepAliveSeconds, logFile } = this.#options;
    const options: NativeConnectOptions = {
      reapOrphans: embedded,
      logFile,
    };
    const connection = await this.#connect(options, { timeoutMs: CALL_TIMEOUT_MS, ...context });
    try {
      const call = { timeoutMs: CALL_TIMEOUT_MS, ...context };
      await callNative(
        (_addon, id) => connection.subscribe((batch) => this.#deliver(batch, connection), id),
        call,
      );
      // A list made now is what later events are counted from.
      if (this.#first) this.#states.compare(await this.#list(connection, call));
    } catch (error) {
      await connection.close(0);
      throw error;
    }
    if (this.#closed) {
      await connection.close(0);
      throw new ComputeError('CLOSED', 'the driver was closed while it connected', context);
    }
    this.#first = false;
    this.#connection = connection;
    // In this very process there is nothing to ask.
    if (embedded || keepAliveSeconds === 0) return;
    this.#pulse = new Pulse(connection, keepAliveSeconds * 1000, () => {
      this.#lost(connection, 'keepalive', Date.now());
    });
  }

  /** One that comes after its time was over is let go again. */
  async #connect(options: NativeConnectOptions, context: CallContext): Promise<NativeConnection> {
    let late = false;
    this.#attempts += 1;
    try {
      return await callNative((addon, id) => {
        const opening = addon.openConnection(this.#options.uri, options, id);
        const settled = (): void => {
          this.#attempts -= 1;
        };
        opening.then((connection) => (late ? connection.close(0) : undefined)).then(settled, settled);
        return opening;
      }, context);
    } catch (error) {
      late = true;
      throw error;
    }
  }

  async #list(connection: NativeConnection, context: CallContext): Promise<NativeDomainRecord[]> {
    this.#states.beginComparison();
    return await callNative((_addon, id) => connection.list(0, DOMAIN_NAMESPACE, id), context);
  }

  /** Idempotent; waits for calls under way, at most until `timeoutMs`. */
  async close(timeoutMs: number = CALL_TIMEOUT_MS): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#reconnect);
    this.#pulse?.stop();
    const connection = this.#connection;
    this.#connection = undefined;
    this.events.close();
    for (const wake of this.#waiting.splice(0)) wake();
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
        : this.#lostIn(context);
    }
    return await new Promise<T>((resolve, reject) => {
      const cut = (): void => reject(this.#lostIn(context));
      this.#inFlight.add(cut);
      callNative((_addon, id) => run(connection, id), { timeoutMs: CALL_TIMEOUT_MS, ...context })
        .then(resolve, (error: unknown) => {
          // Of a call that had waited for a thread when the connection was lost.
          const closed = ComputeError.is(error) && error.code === 'CLOSED' && !this.#closed;
          reject(closed ? this.#lostIn(context, error) : error);
        })
        .finally(() => this.#inFlight.delete(cut));
    });
  }

  #lostIn(context: CallContext, cause?: unknown): ComputeError {
    return new ComputeError(
      'CONNECTION_LOST',
      `${context.operation}: there is no connection to ${this.#options.uri} just now; it is made again by itself, try again`,
      { operation: context.operation, instanceUuid: context.instanceUuid, retryable: true, cause },
    );
  }

  /** The domain of that instance. Rejects with `INSTANCE_NOT_FOUND`. */
  async domain(uuid: string, context: CallContext): Promise<NativeDomain> {
    return await this.#owned(context, (connection, id) => connection.lookup(uuid, id));
  }

  /** virDomainDefineXMLFlags. */
  async define(xml: string, context: CallContext): Promise<NativeDomain> {
    return await this.#owned(context, (connection, id) => connection.define(xml, 0, id));
  }

  async #owned(
    context: CallContext,
    run: (connection: NativeConnection, callId: number) => Promise<NativeDomain>,
  ): Promise<NativeDomain> {
    const owner = this.#connection;
    const domain = await this.call(context, run);
    if (owner) this.#owners.set(domain, owner);
    return domain;
  }

  /** One call on a domain. One that was found over a connection that is lost by now is looked up again. */
  async onDomain<T>(
    domain: NativeDomain,
    context: CallContext,
    run: (domain: NativeDomain, callId: number) => Promise<T>,
  ): Promise<T> {
    const stale = this.#connection !== undefined && this.#owners.get(domain) !== this.#connection;
    const current = stale ? await this.domain(domain.uuid, context) : domain;
    return await this.call(context, (_connection, id) => run(current, id));
  }

  /**
   * Watches for a lifecycle event of one domain. Made before the call that causes it, since libvirt tells of an event
   * before that call returns. Dispose of it in every case.
   */
  watch(uuid: string, wanted: readonly LifecycleEvent[]): EventWatch {
    const matches = (event: DriverEvent): event is LifecycleOf =>
      event.type === 'lifecycle' && event.uuid === uuid && wanted.includes(event.event);
    return this.watchFor(uuid, wanted.join(' or '), matches);
  }

  /** The same for any kind of event; `wanted` names it for people. */
  watchFor<E extends DriverEvent>(
    uuid: string,
    wanted: string,
    matches: (event: DriverEvent) => event is E,
  ): EventWatch<E> {
    return new EventWatch(this.events, uuid, wanted, matches);
  }

  #deliver(batch: readonly NativeEvent[], source: NativeConnection): void {
    for (const event of batch) {
      switch (event.type) {
        case 'lifecycle': {
          const known = lifecycleEvent(event.event, event.detail);
          if (known) {
            const { uuid, name, id, timestamp } = event;
            this.#states.note({ uuid, name, id, ...known });
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
          void this.#resync(source);
          break;
        case 'close':
          this.#lost(source, closeReason(event.reason), event.timestamp);
          break;
        default: {
          const known = guestEvent(event);
          if (known) this.events.publish(known);
        }
      }
    }
  }

  #lost(connection: NativeConnection, detail: string, timestamp: number): void {
    if (this.#closed || this.#connection !== connection) return;
    this.#connection = undefined;
    this.#options.logger.warn('the connection to libvirt was lost', { uri: this.#options.uri, detail });
    this.events.publish({ type: 'connection', state: 'down', detail, timestamp });
    this.#pulse?.stop();
    // libvirt ends them itself, unless libvirtd hangs: then they hang with it until it goes on, on threads of theirs.
    for (const cut of this.#inFlight) cut();
    void connection.close(0).catch(() => undefined);
    this.#retry(RECONNECT_FIRST_MS);
  }

  /** Again and again, each time after a longer wait: not all drivers of a host at the same moment. */
  #retry(delayMs: number): void {
    const again = (): void => this.#retry(Math.min(delayMs * 2, RECONNECT_LONGEST_MS));
    this.#reconnect = setTimeout(
      () => {
        if (this.#attempts >= HANGING_ATTEMPTS) again();
        else this.#reopen().catch(again);
      },
      delayMs * (0.5 + Math.random()),
    );
    this.#reconnect.unref();
  }

  async #reopen(): Promise<void> {
    try {
      await this.open({ operation: 'reconnect', timeoutMs: RECONNECT_TIMEOUT_MS });
    } catch (error) {
      if (this.#closed) return;
      this.#options.logger.debug('libvirt cannot be reached yet', { error: String(error) });
      throw error;
    }
    this.#options.logger.info('connected to libvirt again', { uri: this.#options.uri });
    this.events.publish({ type: 'connection', state: 'up', detail: 'reconnected' });
    for (const wake of this.#waiting.splice(0)) wake();
    if (this.#connection) await this.#resync(this.#connection);
  }

  /** Tells of what happened while no events came. Where this connection is lost too, the next one does it. */
  async #resync(connection: NativeConnection): Promise<void> {
    try {
      const call = { operation: 'resync', timeoutMs: CALL_TIMEOUT_MS };
      const records = await this.#list(connection, call);
      if (this.#connection !== connection) return;
      const { events, changes } = this.#states.compare(records);
      for (const event of events) this.events.publish({ type: 'lifecycle', ...event, resync: true });
      this.events.publish({ type: 'resynced', changes });
    } catch (error) {
      this.#options.logger.warn('the states of the instances cannot be compared', { error: String(error) });
    }
  }

  /**
   * Does what must not be left undone, an idempotent piece of work: where libvirtd goes away it waits for its return, 20
   * seconds at most, and does it again.
   */
  async patiently<T>(context: CallContext, work: () => Promise<T>): Promise<T> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const left = end - performance.now();
        const lost = ComputeError.is(error) && error.code === 'CONNECTION_LOST';
        if (!lost || left <= 0 || this.#closed || context.signal?.aborted) throw error;
        await this.#connected(left, context.signal);
      }
    }
  }

  /** Resolves when there is a connection, when its time is over, or at the abort: the next call then tells. */
  async #connected(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    // The call that failed may be quicker than the event of the loss.
    await new Promise((resolve) => setTimeout(resolve, Math.min(timeoutMs, RECONNECT_FIRST_MS)));
    if (this.#connection || this.#closed) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, timeoutMs);
      signal?.addEventListener('abort', wake, { once: true });
      this.#waiting.push(wake);
    });
  }
}
