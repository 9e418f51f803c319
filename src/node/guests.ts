// What a node does with the system in a guest: its agent, its consoles, its figures.
import type { Duplex } from 'node:stream';
import type { CallOptions } from '../driver/compute-driver.js';
import type { ConsoleEndpoint, Screenshot } from '../driver/console.js';
import type { Diagnostics } from '../driver/diagnostics.js';
import { canonicalUuid } from '../driver/identity.js';
import type { NodeContext } from './node-context.js';
import { notFound } from './node-errors.js';
import { operate } from './operation.js';
import type { OperationOptions } from './types.js';

const READ_TIMEOUT_MS = 60_000;
const AGENT_TIMEOUT_MS = 10_000;

/** Questions are answered beside whatever is under way; what changes the guest waits for its turn. */
export class Guests {
  readonly #context: NodeContext;

  constructor(context: NodeContext) {
    this.#context = context;
  }

  /** Rejects with `INVALID_STATE` where it does not run. */
  async diagnostics(uuid: string, options: OperationOptions = {}): Promise<Diagnostics> {
    return await this.#read('diagnostics', uuid, options, (id, call) =>
      this.#context.driver.getDiagnostics(id, call),
    );
  }

  /** Where a client of that protocol connects to. `UNSUPPORTED` where the instance has no such console. */
  async consoleEndpoint(
    uuid: string,
    type: ConsoleEndpoint['type'] = 'vnc',
    options: OperationOptions = {},
  ): Promise<ConsoleEndpoint> {
    const { driver } = this.#context;
    return await this.#read('consoleEndpoint', uuid, options, (id, call) => {
      if (type === 'spice') return driver.getSpiceConsole(id, call);
      return type === 'serial' ? driver.getSerialConsole(id, call) : driver.getVncConsole(id, call);
    });
  }

  async screenshot(uuid: string, options: OperationOptions = {}): Promise<Screenshot> {
    return await this.#read('screenshot', uuid, options, (id, call) =>
      this.#context.driver.getScreenshot(id, call),
    );
  }

  /** The serial console, live; destroy the stream to let go of it. `INSTANCE_BUSY` where it is open, unless `force`. */
  async openConsole(
    uuid: string,
    options: OperationOptions & { readonly force?: boolean } = {},
  ): Promise<Duplex> {
    const { force } = options;
    return await this.#read('openConsole', uuid, options, (id, call) =>
      this.#context.driver.openConsole(id, { ...call, force }),
    );
  }

  /** One event `disk-threshold` when it writes past that byte of the file of its disk `device`; 0: none. Forgotten when it stops. */
  async setDiskThreshold(
    uuid: string,
    device: string,
    bytes: number,
    options: OperationOptions = {},
  ): Promise<void> {
    await this.#read('setDiskThreshold', uuid, options, (id, call) =>
      this.#context.driver.setDiskThreshold(id, device, bytes, call),
    );
  }

  /** Rejects with `AGENT_UNAVAILABLE` where nobody answers within `timeoutMs` (default 10 s). */
  async pingAgent(uuid: string, options: OperationOptions = {}): Promise<void> {
    await this.#read(
      'pingAgent',
      uuid,
      { ...options, timeoutMs: (options.timeoutMs ?? AGENT_TIMEOUT_MS) + READ_TIMEOUT_MS },
      (id, call) =>
        this.#context.driver.pingAgent(id, { ...call, timeoutMs: options.timeoutMs ?? AGENT_TIMEOUT_MS }),
    );
  }

  /** Of `root` (`Administrator` on Windows) or `user`, by the guest's agent. The password is neither stored nor logged. */
  async setAdminPassword(
    uuid: string,
    password: string,
    options: OperationOptions & { readonly user?: string } = {},
  ): Promise<void> {
    const { user } = options;
    const rules = { task: 'setAdminPassword', options };
    const id = canonicalUuid(uuid, rules.task);
    await operate(this.#context, id, rules, async ({ instance }, { signal }) => {
      const call = { signal, ...(user !== undefined && { user }) };
      await this.#context.driver.setAdminPassword(instance, password, call);
    });
  }

  async setTime(uuid: string, options: OperationOptions = {}): Promise<void> {
    const rules = { task: 'setGuestTime', options };
    await operate(this.#context, canonicalUuid(uuid, rules.task), rules, async ({ instance }, { signal }) => {
      await this.#context.driver.setGuestTime(instance.uuid, { signal });
    });
  }

  async #read<T>(
    operation: string,
    uuid: string,
    options: OperationOptions,
    work: (uuid: string, call: CallOptions) => Promise<T>,
  ): Promise<T> {
    const { signal, timeoutMs = READ_TIMEOUT_MS } = options;
    const instanceUuid = canonicalUuid(uuid, operation);
    const rules = { operation, instanceUuid, signal, timeoutMs };
    return await this.#context.calls.run(rules, async (deadline) => {
      if (!this.#context.instances.has(instanceUuid)) throw notFound(instanceUuid, operation);
      return await work(instanceUuid, { signal: deadline.signal });
    });
  }
}
