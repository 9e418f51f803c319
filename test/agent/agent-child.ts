// The agent as a process of its own: a crash is seen, and so is what it holds. Its hypervisor is one in its memory, unless told otherwise.
import { type ChildProcess, spawn } from 'node:child_process';
import { fstatSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, vi } from 'vitest';
import { residentMib } from './resident.js';

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface AgentChildOptions {
  readonly directory: string;
  readonly host: string;
  readonly brokerUrl: string;
  readonly placement: { readonly url: string; readonly token: string };
  /** Further parts of its configuration; `node` in place of the usual one. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export class AgentChild {
  readonly #directory: string;
  readonly #child: ChildProcess;
  /** Of its own part of the log. */
  readonly #begin: number;

  /** Resolves when Nova can use it. Another may have had that directory before. */
  static async start(options: AgentChildOptions): Promise<AgentChild> {
    const child = new AgentChild(options);
    const serves = () => child.log.slice(child.#begin);
    await vi.waitFor(() => expect(serves()).toContain('serves Nova'), { timeout: 60_000, interval: 50 });
    return child;
  }

  private constructor({ directory, host, brokerUrl, placement, more }: AgentChildOptions) {
    mkdirSync(directory, { recursive: true });
    this.#directory = directory;
    const auth = { type: 'token', token: placement.token };
    const config = {
      host,
      broker: { url: brokerUrl },
      placement: { endpoint: placement.url, auth },
      node: { driver: 'fake.FakeDriver', instancesPath: join(directory, 'instances') },
      reportIntervalMs: 1000,
      shutdownTimeoutMs: 100,
      monitor: { port: 0 },
      ...more,
    };
    // JSON is YAML.
    writeFileSync(join(directory, 'agent.yaml'), JSON.stringify(config));
    const log = openSync(join(directory, 'log'), 'a');
    this.#begin = fstatSync(log).size;
    const args = ['agent', '--config', join(directory, 'agent.yaml')];
    this.#child = spawn(cli, args, { stdio: ['ignore', log, log] });
  }

  get log(): string {
    return readFileSync(join(this.#directory, 'log'), 'utf8');
  }

  get monitorUrl(): string {
    return /http:\/\/127\.0\.0\.1:\d+/.exec(this.log)?.[0] ?? '';
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get residentMib(): number {
    return residentMib(this.#child.pid);
  }

  /** Files of the command journal: of commands that are not done, or of another of its folders. */
  journal(folder = 'commands'): readonly string[] {
    return readdirSync(join(this.#directory, 'commands', folder));
  }

  /** kill -9 */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** In good order; gives its exit code, null where a signal ended it. */
  async stop(): Promise<number | null> {
    if (this.isAlive) {
      const closed = new Promise((resolve) => this.#child.once('close', resolve));
      this.#child.kill('SIGTERM');
      await closed;
    }
    return this.#child.exitCode;
  }
}
