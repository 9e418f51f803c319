// Between an agent and its Neutron: what goes by is seen, and may go wrong on the way.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** `away`: Neutron does not hear of it. `answer-lost`: it does it, and nobody hears. */
export type Mishap = 'away' | 'answer-lost';

export class NeutronProxy {
  /** `POST /v2.0/ports`. */
  readonly seen: string[] = [];
  /** Of the next requests with that method, one each. */
  readonly mishaps: { readonly method: string; readonly mishap: Mishap }[] = [];
  readonly #target: string;
  readonly #server: Server;

  static async start(target: string): Promise<NeutronProxy> {
    const proxy = new NeutronProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  private constructor(target: string) {
    this.#target = target;
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy());
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    this.seen.push(`${method} ${url.split('?')[0]}`);
    const at = this.mishaps.findIndex((one) => one.method === method);
    const [next] = at < 0 ? [] : this.mishaps.splice(at, 1);
    if (next?.mishap === 'away') {
      response.writeHead(503).end();
      return;
    }
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces).toString();
    const answer = await fetch(`${this.#target}${url}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body !== '' && { body }),
    });
    const text = await answer.text();
    if (next?.mishap === 'answer-lost') response.destroy();
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
  }
}
