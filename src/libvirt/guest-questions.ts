// What a driver is asked about the system in a guest: its consoles, its screen, its figures, its agent.
import type { Duplex } from 'node:stream';
import { BaseDriver } from '../driver/base-driver.js';
import type { CallOptions, OpenConsoleOptions } from '../driver/compute-driver.js';
import type { ConsoleEndpoint, Screenshot } from '../driver/console.js';
import type { Diagnostics } from '../driver/diagnostics.js';
import { checkInstanceUuid } from '../driver/identity.js';
import type { Instance } from '../driver/model.js';
import { openConsole } from './console-stream.js';
import { diagnostics } from './diagnostics.js';
import { setDiskThreshold } from './disk-threshold.js';
import type { GuestAgent } from './guest-agent.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { instanceCall } from './instance-call.js';
import { consoleEndpoint, screenshot } from './remote-console.js';

const QUESTION_TIMEOUT_MS = 60_000;

export interface GuestHost {
  readonly hypervisor: Hypervisor;
  readonly agent: GuestAgent;
  readonly virtType: 'kvm' | 'qemu';
}

/** The part of {@link LibvirtDriver} that changes no instance. */
export abstract class GuestQuestions extends BaseDriver {
  readonly #consoles = new Set<Duplex>();

  protected abstract guestHost(): GuestHost;

  /** At the end of the driver: who reads or writes then sees `CLOSED`. */
  protected closeConsoles(): void {
    for (const console of this.#consoles) console.destroy();
  }

  override async openConsole(uuid: string, options: OpenConsoleOptions = {}): Promise<Duplex> {
    return await this.#about('openConsole', uuid, options, async (context) => {
      const console = await openConsole(this.guestHost().hypervisor, uuid, options, context);
      this.#consoles.add(console);
      return console.once('close', () => this.#consoles.delete(console));
    });
  }

  override async getVncConsole(uuid: string, options: CallOptions = {}): Promise<ConsoleEndpoint> {
    return await this.#about('getVncConsole', uuid, options, (context) =>
      consoleEndpoint(this.guestHost().hypervisor, uuid, 'vnc', context),
    );
  }

  override async getSpiceConsole(uuid: string, options: CallOptions = {}): Promise<ConsoleEndpoint> {
    return await this.#about('getSpiceConsole', uuid, options, (context) =>
      consoleEndpoint(this.guestHost().hypervisor, uuid, 'spice', context),
    );
  }

  override async getSerialConsole(uuid: string, options: CallOptions = {}): Promise<ConsoleEndpoint> {
    return await this.#about('getSerialConsole', uuid, options, (context) =>
      consoleEndpoint(this.guestHost().hypervisor, uuid, 'serial', context),
    );
  }

  override async getScreenshot(uuid: string, options: CallOptions = {}): Promise<Screenshot> {
    return await this.#about('getScreenshot', uuid, options, (context) =>
      screenshot(this.guestHost().hypervisor, uuid, context),
    );
  }

  override async getDiagnostics(uuid: string, options: CallOptions = {}): Promise<Diagnostics> {
    return await this.#about('getDiagnostics', uuid, options, (context) =>
      diagnostics(this.guestHost().hypervisor, uuid, this.guestHost().virtType, context),
    );
  }

  override async setDiskThreshold(
    uuid: string,
    device: string,
    bytes: number,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#about('setDiskThreshold', uuid, options, (context) =>
      setDiskThreshold(this.guestHost().hypervisor, uuid, device, bytes, context),
    );
  }

  override async pingAgent(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.guestHost().agent.ping(checkInstanceUuid(uuid, 'pingAgent'), options);
  }

  override async setAdminPassword(
    instance: Pick<Instance, 'uuid' | 'image'>,
    password: string,
    options: CallOptions & { readonly user?: string } = {},
  ): Promise<void> {
    checkInstanceUuid(instance.uuid, 'setAdminPassword');
    await this.guestHost().agent.setAdminPassword(instance, password, options);
  }

  override async setGuestTime(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.guestHost().agent.setTime(checkInstanceUuid(uuid, 'setGuestTime'), options);
  }

  override async quiesce(uuid: string, options: CallOptions = {}): Promise<number> {
    return await this.guestHost().agent.freeze(checkInstanceUuid(uuid, 'quiesce'), options);
  }

  override async unquiesce(uuid: string, options: CallOptions = {}): Promise<number> {
    return await this.guestHost().agent.thaw(checkInstanceUuid(uuid, 'unquiesce'), options);
  }

  async #about<T>(
    operation: string,
    uuid: string,
    options: CallOptions,
    work: (context: CallContext) => Promise<T>,
  ): Promise<T> {
    checkInstanceUuid(uuid, operation);
    return await instanceCall(operation, uuid, options, QUESTION_TIMEOUT_MS, work);
  }
}
