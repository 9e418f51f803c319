// A service of OpenStack, or another, of one's own: a process that answers on 127.0.0.1, ended with its whole group.
import { spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_MS = 90_000;
const STOP_MS = 10_000;

export class PrivateService {
  #name;
  #directory;
  #process;
  #exited;

  /** Its output is in `output.log` of the directory. Resolves once `url` answers with success; a service that does not is ended. */
  static async start({ name, args, under = [], directory, env, url }) {
    const output = openSync(join(directory, 'output.log'), 'w', 0o600);
    // A process group of its own: its workers end with it.
    const [program, ...words] = [...under, name, ...args];
    const child = spawn(program, words, {
      cwd: directory,
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env },
    });
    const service = new PrivateService(name, directory, child);
    try {
      await service.#untilItAnswers(url);
    } catch (error) {
      await service.stop();
      throw error;
    }
    return service;
  }

  constructor(name, directory, process) {
    this.#name = name;
    this.#directory = directory;
    this.#process = process;
    this.#exited = new Promise((resolve) => process.once('exit', resolve).once('error', resolve));
  }

  async stop() {
    const timer = setTimeout(() => this.#signal('SIGKILL'), STOP_MS);
    this.#signal('SIGTERM');
    await this.#exited;
    clearTimeout(timer);
  }

  /** At once, where nothing can be awaited. */
  kill() {
    this.#signal('SIGKILL');
  }

  async #untilItAnswers(url) {
    const end = performance.now() + START_MS;
    for (;;) {
      if (this.#process.exitCode !== null) throw new Error(`${this.#name} ended: ${this.#log()}`);
      if (performance.now() > end) throw new Error(`${this.#name} does not answer: ${this.#log()}`);
      const answers = await fetch(url).then(
        ({ ok }) => ok,
        () => false,
      );
      if (answers) return;
      await sleep(100);
    }
  }

  #signal(name) {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, name);
  }

  #log() {
    return readFileSync(join(this.#directory, 'output.log'), 'utf8').slice(-2000);
  }
}

export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
