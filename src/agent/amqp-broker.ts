// AMQP 0-9-1 by amqplib: one connection at a time to one of the hosts, and another when it breaks.
import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import { connect } from 'amqplib';
import { ComputeError } from '../driver/errors.js';
import { AmqpLink, LinkLost } from './amqp-link.js';
import { Backoff, type BackoffOptions } from './backoff.js';
import type { Broker, ConsumeOptions, Consumer, Publication, Queue } from './broker.js';
import { Deferred, until } from './deferred.js';
import { type BrokerHost, type Credentials, parseTransportUrl, type TransportUrl } from './transport-url.js';

export interface AmqpBrokerOptions {
  /** oslo.messaging's transport_url, see {@link parseTransportUrl}. */
  readonly url: string;
  /** For hosts of the URL without. Default guest, guest. */
  readonly credentials?: Credentials;
  readonly tls?: AmqpTlsOptions;
  /** Name of the connection in the broker's lists. Default `node-compute`. */
  readonly name?: string;
  /** A broker silent for two of these is gone. Default 30, less where the broker wants so. */
  readonly heartbeatSeconds?: number;
  /** Default 10000. */
  readonly connectTimeoutMs?: number;
  readonly reconnect?: BackoffOptions;
  /** Connections made and lost. Must not throw. */
  readonly onState?: (state: BrokerState) => void;
}

/** With any of them, TLS is used. The query of the URL may name the files too. */
export interface AmqpTlsOptions {
  /** PEM of the authorities that are trusted instead of the system's. */
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** The name that the broker's certificate must be for. Default: the URL's. */
  readonly serverName?: string;
  /** False trusts whoever answers. Default true. */
  readonly verify?: boolean;
}

export type BrokerState =
  | { readonly state: 'connected'; readonly host: string }
  /** Also for a connection that could not be made; another try follows. */
  | { readonly state: 'disconnected'; readonly host: string; readonly error: ComputeError };

const GUEST: Credentials = { username: 'guest', password: 'guest' };

/** A consumer over all connections. */
interface Consumption {
  readonly queue: Queue;
  readonly options: ConsumeOptions;
  /** Settled when the broker delivers for the first time, or refused to. */
  readonly started: Deferred<void>;
  isStarted: boolean;
  /** Over the present link. */
  starting: Promise<void> | undefined;
  cancel: (() => Promise<void>) | undefined;
}

export class AmqpBroker implements Broker {
  readonly #options: AmqpBrokerOptions;
  readonly #url: TransportUrl;
  readonly #closing = new AbortController();
  readonly #consumptions = new Set<Consumption>();
  #link = new Deferred<AmqpLink>();
  readonly #run: Promise<void>;

  /** Connects in the background, for as long as it takes. Throws `INVALID_ARGUMENT` for a URL that is none. */
  constructor(options: AmqpBrokerOptions) {
    this.#url = parseTransportUrl(options.url);
    this.#options = options;
    this.#run = this.#keepConnected();
  }

  async consume(queue: Queue, options: ConsumeOptions): Promise<Consumer> {
    this.#checkOpen();
    const consumption: Consumption = {
      queue,
      options,
      started: new Deferred(),
      isStarted: false,
      starting: undefined,
      cancel: undefined,
    };
    this.#consumptions.add(consumption);
    try {
      // A link that is made now starts it itself, together with the others.
      const link = await until(this.#link.promise, options.signal);
      void this.#start(link, consumption).catch(() => undefined);
      await until(consumption.started.promise, options.signal);
    } catch (error) {
      await this.#cancel(consumption);
      throw error;
    }
    return { cancel: () => this.#cancel(consumption) };
  }

  async publish(publication: Publication, signal?: AbortSignal): Promise<'delivered' | 'unroutable'> {
    const backoff = new Backoff({ firstMs: 50, mostMs: 2000 });
    for (;;) {
      this.#checkOpen();
      const link = await until(this.#link.promise, signal);
      try {
        return await until(link.publish(publication), signal);
      } catch (error) {
        if (!(error instanceof LinkLost)) throw error;
      }
      // It may be only the channel that was lost; a lost link is replaced by then.
      await backoff.pause(AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])]));
    }
  }

  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      const error = closedError();
      this.#closing.abort(error);
      this.#link.reject(error);
      for (const { started } of this.#consumptions) started.reject(error);
    }
    await this.#run;
  }

  async #keepConnected(): Promise<void> {
    const { signal } = this.#closing;
    const backoff = new Backoff(this.#options.reconnect);
    for (let turn = 0; !signal.aborted; turn++) {
      const host = this.#url.hosts[turn % this.#url.hosts.length] as BrokerHost;
      const error = await this.#connected(host, backoff);
      if (signal.aborted) return;
      this.#report({ state: 'disconnected', host: nameOf(host), error: connectionError(host, error) });
      await backoff.pause(signal).catch(() => undefined);
    }
  }

  /** Resolves with why there is no connection, or none any more. */
  async #connected(host: BrokerHost, backoff: Backoff): Promise<unknown> {
    const { signal } = this.#closing;
    let link: AmqpLink;
    try {
      link = await this.#open(host);
    } catch (error) {
      return error;
    }
    const onClose = (): void => void link.close();
    signal.addEventListener('abort', onClose, { once: true });
    try {
      if (signal.aborted) return undefined;
      await Promise.all([...this.#consumptions].map((consumption) => this.#start(link, consumption)));
      backoff.reset();
      this.#report({ state: 'connected', host: nameOf(host) });
      this.#link.resolve(link);
      return await link.ended;
    } catch (error) {
      return error;
    } finally {
      signal.removeEventListener('abort', onClose);
      await link.close();
      for (const consumption of this.#consumptions) consumption.starting = consumption.cancel = undefined;
      if (!signal.aborted && this.#link.isSettled) this.#link = new Deferred();
    }
  }

  async #open(host: BrokerHost): Promise<AmqpLink> {
    const { connectTimeoutMs = 10_000, heartbeatSeconds = 30, name = 'node-compute' } = this.#options;
    const { username, password } = host.credentials ?? this.#options.credentials ?? GUEST;
    const tls = await this.#tlsOptions();
    const connecting = connect(
      {
        protocol: tls ? 'amqps' : 'amqp',
        hostname: host.hostname,
        port: host.port,
        username,
        password,
        vhost: encodeURIComponent(this.#url.virtualHost),
        heartbeat: heartbeatSeconds,
      },
      { ...tls, timeout: connectTimeoutMs, noDelay: true, clientProperties: { connection_name: name } },
    );
    try {
      return new AmqpLink(await until(connecting, this.#closing.signal));
    } catch (error) {
      // It may still come: nobody would close it.
      connecting.then(
        (connection) => void new AmqpLink(connection).close(),
        () => undefined,
      );
      throw error;
    }
  }

  async #tlsOptions(): Promise<ConnectionOptions | undefined> {
    const { tls } = this.#options;
    if (!this.#url.tls && !tls) return undefined;
    const { caFile, certFile, keyFile } = this.#url;
    const ca = tls?.ca ?? (await contents(caFile));
    const cert = tls?.cert ?? (await contents(certFile));
    const key = tls?.key ?? (await contents(keyFile));
    return {
      rejectUnauthorized: tls?.verify ?? true,
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(tls?.serverName !== undefined && { servername: tls.serverName }),
    };
  }

  #start(link: AmqpLink, consumption: Consumption): Promise<void> {
    consumption.starting ??= this.#begin(link, consumption);
    return consumption.starting;
  }

  /** A queue that is refused before it was ever consumed is the caller's affair; afterwards it is the link's. */
  async #begin(link: AmqpLink, consumption: Consumption): Promise<void> {
    const { queue, options, started } = consumption;
    try {
      const { existed, cancel } = await link.consume(queue, options);
      consumption.cancel = cancel;
      if (!this.#consumptions.has(consumption)) await this.#cancel(consumption);
      else if (consumption.isStarted && !existed) options.onQueueLost?.();
      consumption.isStarted = true;
      started.resolve();
    } catch (error) {
      if (!consumption.isStarted && !(error instanceof LinkLost)) {
        this.#consumptions.delete(consumption);
        started.reject(error);
        return;
      }
      link.fail(error as Error);
      throw error;
    }
  }

  async #cancel(consumption: Consumption): Promise<void> {
    this.#consumptions.delete(consumption);
    await consumption.cancel?.();
  }

  #checkOpen(): void {
    if (this.#closing.signal.aborted) throw closedError();
  }

  #report(state: BrokerState): void {
    this.#options.onState?.(state);
  }
}

function nameOf({ hostname, port }: BrokerHost): string {
  return `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`;
}

async function contents(path: string | undefined): Promise<Buffer | undefined> {
  return path === undefined ? undefined : readFile(path);
}

function closedError(): ComputeError {
  return new ComputeError('CLOSED', 'the connection to the broker is closed');
}

/** A refused login too: amqplib gives no code of it. Its errors, and those of sockets, hold neither URL nor password. */
function connectionError(host: BrokerHost, cause: unknown): ComputeError {
  if (ComputeError.is(cause)) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ComputeError('CONNECTION_FAILED', `no connection to the broker ${nameOf(host)}: ${why}`, {
    operation: 'connect to the broker',
    retryable: true,
    cause,
  });
}
