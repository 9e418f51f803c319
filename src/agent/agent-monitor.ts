// How the agent is, for those who watch it over HTTP: alive, ready, and the newest figures of the host.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ComputeError } from '../driver/errors.js';
import { PROMETHEUS_TYPE, prometheusText } from '../resources/sinks/prometheus-text.js';
import type { ComputeAgent } from './compute-agent.js';

export interface MonitorOptions {
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Default 9178; 0 takes a free one. */
  readonly port?: number;
}

type Answer = readonly [status: number, type: string, body: string];

/** Nova takes a host for dead after so long. */
const DEAD_MS = 60_000;
const TEXT = 'text/plain; charset=utf-8';

/** Answers before there is an agent, too: it lives, and is not ready. */
export class AgentMonitor {
  readonly #server: Server;
  /** Set when it serves. */
  agent: ComputeAgent | undefined;

  /** Rejects with `SYSTEM` where it cannot listen. */
  static async open({ host = '127.0.0.1', port = 9178 }: MonitorOptions = {}): Promise<AgentMonitor> {
    const monitor = new AgentMonitor();
    try {
      const listening = once(monitor.#server, 'listening');
      monitor.#server.listen(port, host);
      await listening;
    } catch (cause) {
      throw new ComputeError('SYSTEM', `cannot listen on ${host}:${port} for who watches the agent`, {
        operation: 'monitor',
        cause,
      });
    }
    monitor.#server.on('error', () => undefined);
    return monitor;
  }

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.unref();
  }

  get url(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #answer({ method, url }: IncomingMessage, response: ServerResponse): void {
    const [status, type, body] = method === 'GET' ? this.#get(url?.split('?')[0]) : notThere();
    response.writeHead(status, { 'content-type': type }).end(body);
  }

  #get(path: string | undefined): Answer {
    if (path === '/healthz') return [200, TEXT, 'alive\n'];
    if (path === '/readyz') return this.#ready();
    if (path === '/metrics' && this.agent) return [200, PROMETHEUS_TYPE, metrics(this.agent)];
    return path === '/metrics' ? [503, TEXT, 'not ready\n'] : notThere();
  }

  #ready(): Answer {
    const { agent } = this;
    if (!agent) return [503, TEXT, 'starting\n'];
    if (agent.node.service.status.state === 'down') return [503, TEXT, 'the hypervisor is away\n'];
    const silentMs = Date.now() - agent.lastReportMs;
    if (silentMs > DEAD_MS)
      return [503, TEXT, `Nova has not heard of the host for ${Math.round(silentMs / 1000)} s\n`];
    return [200, TEXT, 'ready\n'];
  }
}

function metrics({ reporter, troubles }: ComputeAgent): string {
  const name = 'node_compute_agent_message_troubles_total';
  const help = 'Messages from the broker, by what was wrong with them.';
  const lines = Object.entries(troubles).map(([kind, count]) => `${name}{kind="${kind}"} ${count}\n`);
  return `${prometheusText(reporter.report)}# HELP ${name} ${help}\n# TYPE ${name} counter\n${lines.join('')}`;
}

function notThere(): Answer {
  return [404, TEXT, 'not found\n'];
}
