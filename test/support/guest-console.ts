// What is typed at a guest's console, and what the guest then reaches over its network.
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { ComputeDriver } from '../../src/driver/compute-driver.js';
import type { Instance } from '../../src/driver/model.js';
import type { TestHost } from './host.js';

/** Types a line and returns what came until the expected answer. */
export async function type(console: Duplex, line: string, expected: RegExp): Promise<string> {
  let text = '';
  console.write(`${line}\n`);
  for (;;) {
    if (expected.test(text)) return text;
    const chunk: unknown = console.read();
    if (Buffer.isBuffer(chunk)) text += chunk.toString('utf8');
    else if (console.readableEnded || console.destroyed) throw new Error(`the console ended: ${text}`);
    else await once(console, 'readable');
  }
}

/** What is typed while the shell starts may be lost: resolves when it has answered. */
export async function atPrompt(console: Duplex): Promise<void> {
  const line = 'echo ready $((1 + 1))';
  const again = setInterval(() => console.write(`${line}\n`), 2_000);
  try {
    await type(console, line, /ready 2/);
  } finally {
    clearInterval(again);
  }
}

/** Types a line as `type`, and lets go of the console. */
export async function typeOnce(console: Duplex, line: string, expected: RegExp): Promise<string> {
  try {
    return await type(console, line, expected);
  } finally {
    console.destroy();
    await once(console, 'close');
  }
}

/** A guest that was booted, at its prompt. */
export class GuestConsole {
  readonly #console: Duplex;

  private constructor(console: Duplex) {
    this.#console = console;
  }

  /** Of each guest in turn, which then has the address `network`.1, .2 ... */
  static async openAll(
    driver: ComputeDriver,
    host: TestHost,
    instances: readonly Instance[],
    network: string,
  ): Promise<GuestConsole[]> {
    const consoles: GuestConsole[] = [];
    for (const [index, instance] of instances.entries()) {
      const console = await GuestConsole.open(driver, host, instance);
      await console.setAddress('eth0', `${network}.${index + 1}/24`);
      consoles.push(console);
    }
    return consoles;
  }

  static async open(driver: ComputeDriver, host: TestHost, { uuid }: Instance): Promise<GuestConsole> {
    await host.booted(uuid);
    const console = await driver.openConsole(uuid);
    await atPrompt(console);
    return new GuestConsole(console);
  }

  /** Types a line and returns what came until the expected answer. */
  async type(line: string, expected: RegExp): Promise<string> {
    return await type(this.#console, line, expected);
  }

  /** What the command printed, and its status. */
  async run(command: string): Promise<{ readonly status: number; readonly text: string }> {
    const text = await this.type(`${command}; echo status-$?-`, /status-\d+-/);
    return { status: Number(/status-(\d+)-/.exec(text)?.[1]), text };
  }

  async setAddress(device: string, address: string): Promise<void> {
    const { status, text } = await this.run(
      `ip addr flush dev ${device} && ip addr add ${address} dev ${device}`,
    );
    if (status !== 0) throw new Error(`the guest did not take the address ${address}: ${text}`);
  }

  /** Whether anything came back, of three requests a second apart. */
  async reaches(address: string, words = ''): Promise<boolean> {
    return (await this.run(`ping -c 3 -W 1 ${words} ${address} >/dev/null`)).status === 0;
  }

  close(): void {
    this.#console.destroy();
  }
}
