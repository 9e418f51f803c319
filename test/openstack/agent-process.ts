// The agent as it is deployed: `node-compute agent --config FILE`, a process that can be killed.
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, vi } from 'vitest';
import { residentMib } from '../agent/resident.js';
import { endpoints, rig } from './control-plane.js';

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export class AgentProcess {
  readonly host: string;
  readonly directory: string;
  #child: ChildProcess | undefined;
  #starts = 0;

  constructor(host: string) {
    this.host = host;
    this.directory = mkdtempSync(join(tmpdir(), 'nco-'));
    // QEMU's own user must get through.
    chmodSync(this.directory, 0o711);
    writeFileSync(join(this.directory, 'broker'), endpoints.OS_AMQP_URL, { mode: 0o600 });
    const auth = { type: 'token', token: endpoints.OS_PLACEMENT_TOKEN };
    // Other tests on this machine take ports for VNC, too.
    const driverOptions = { root: join(this.directory, 'root'), vncListen: '' };
    const node = { instancesPath: this.#instances, allocationRatios: { cpu: 16 }, driverOptions };
    const lines = [
      `host: ${host}`,
      `broker: { url: !file ${join(this.directory, 'broker')} }`,
      `placement: ${JSON.stringify({ endpoint: endpoints.OS_PLACEMENT_URL, auth })}`,
      `images: ${JSON.stringify({ glance: { endpoints: [endpoints.OS_IMAGE_URL] } })}`,
      `node: ${JSON.stringify(node)}`,
      'shutdownTimeoutMs: 5000',
      'reportIntervalMs: 3000',
      'monitor: { port: 0 }',
    ];
    writeFileSync(join(this.directory, 'agent.yaml'), `${lines.join('\n')}\n`);
  }

  get #instances(): string {
    return join(this.directory, 'instances');
  }

  get log(): string {
    return readFileSync(join(this.directory, 'log'), 'utf8');
  }

  /** What it warned of. */
  troubles(): string {
    return this.log
      .split('\n')
      .filter((line) => !line.includes('"level":30'))
      .join('\n');
  }

  /** Until Nova can use it. */
  async start(): Promise<void> {
    const log = openSync(join(this.directory, 'log'), 'a');
    const args = ['agent', '--config', join(this.directory, 'agent.yaml')];
    this.#child = spawn(cli, args, { stdio: ['ignore', log, log] });
    this.#starts += 1;
    await vi.waitFor(() => expect(this.log.split('serves Nova').length).toBeGreaterThan(this.#starts), {
      timeout: 120_000,
      interval: 100,
    });
    rig('wait-host.sh', this.host, '120');
  }

  get isAlive(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  get residentMib(): number {
    return residentMib(this.#child?.pid);
  }

  /** How often it has been connected to a broker. */
  get connections(): number {
    return this.log.split('connected to the broker at').length - this.log.split('not connected').length;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const closed = new Promise((resolve) => child.once('close', resolve));
    child.kill(signal);
    await closed;
  }

  /** Directories of instances, and commands that are not done. */
  leftovers(): string[] {
    const instances = readdirSync(this.#instances).filter((name) => /^[0-9a-f]{8}-/.test(name));
    return [...instances, ...readdirSync(join(this.directory, 'commands', 'commands'))];
  }

  async remove(): Promise<void> {
    await this.kill('SIGTERM');
    rmSync(this.directory, { recursive: true, force: true });
  }
}
