// A sink that Prometheus scrapes: the newest report at /metrics, over an HTTP server of its own.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ComputeError } from '../../driver/errors.js';
import type { FullReport } from '../report.js';
import type { ReportSink, ReportUpdate } from '../sink.js';
import { PROMETHEUS_TYPE, prometheusText } from './prometheus-text.js';

export interface PrometheusOptions {
  /** Address to listen on. Default `127.0.0.1`: who may see the figures of all guests is for you to say. */
  readonly host?: string;
  /** Default 9177; 0 takes a free one. */
  readonly port?: number;
}

const DEFAULT_PORT = 9177;
const REQUEST_TIMEOUT_MS = 10_000;

/** The text is made when it is asked for, so nothing is spent on it where nobody asks. */
export class PrometheusSink implements ReportSink {
  readonly name = 'prometheus';
  readonly #options: PrometheusOptions;
  #server: Server | undefined;
  #report: FullReport | undefined;

  constructor(options: PrometheusOptions = {}) {
    this.#options = options;
  }

  /** Where it is scraped: `http://127.0.0.1:9177/metrics`. Undefined while it is not open. */
  get url(): string | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    if (!address) return undefined;
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `http://${host}:${address.port}/metrics`;
  }

  /** Rejects with `SYSTEM` where it cannot listen. */
  async open(): Promise<void> {
    const { host = '127.0.0.1', port = DEFAULT_PORT } = this.#options;
    const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) =>
      this.#answer(request, response),
    );
    try {
      const listening = once(server, 'listening');
      server.listen(port, host);
      await listening;
    } catch (cause) {
      throw new ComputeError('SYSTEM', `cannot listen on ${host}:${port} for Prometheus`, {
        operation: 'reporter',
        cause,
      });
    }
    // One connection that cannot be taken is no reason to end the process.
    server.on('error', () => undefined);
    // It answers for as long as the process lives for other reasons.
    server.unref();
    this.#server = server;
  }

  deliver({ report }: ReportUpdate): void {
    this.#report = report;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  #answer({ method, url }: IncomingMessage, response: ServerResponse): void {
    if (url?.split('?')[0] !== '/metrics') {
      response.writeHead(404).end();
    } else if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (!this.#report) {
      response.writeHead(503).end();
    } else {
      response.writeHead(200, { 'content-type': PROMETHEUS_TYPE }).end(prometheusText(this.#report));
    }
  }
}
