// What attaching and detaching have in common: the domain as it is, its definition as it shall be, and the wait for the guest.
import { Deadline } from '../driver/deadline.js';
import { ComputeError, LibvirtError } from '../driver/errors.js';
import type { DriverEvent, Instance } from '../driver/model.js';
import { Undo } from '../driver/undo.js';
import type { ImageLogger } from '../image/types.js';
import type { NativeDomain } from '../native.js';
import type { Domains } from './domains.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { rescued, wrongState } from './instance-call.js';
import type { InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { type LiveDevices, parseDevices } from './live-devices.js';
import { powerState } from './states.js';
import type { DomainHost } from './xml/host.js';

export interface DeviceHost {
  readonly instancesPath: string;
  readonly hypervisor: Hypervisor;
  readonly domains: Domains;
  readonly logger: ImageLogger;
  readonly domainHost: (instance: Instance, files: InstanceFiles, disks?: InstanceDisks) => DomainHost;
  readonly definition: (instance: Instance, files: InstanceFiles, disks?: InstanceDisks) => string;
  /** Milliseconds that a guest is given to let go of a device, each time it is asked. */
  readonly detachTimeoutMs: number;
  readonly detachAttempts: number;
}

/** VIR_DOMAIN_AFFECT_LIVE. */
export const LIVE = 1;
/** VIR_ERR_INTERNAL_ERROR, VIR_ERR_OPERATION_FAILED: what QEMU's monitor answers comes as one of these. */
const MONITOR_ERRORS: ReadonlySet<number> = new Set([1, 9]);
/** Without the wait for a guest. */
const CHANGE_TIMEOUT_MS = 120_000;
/** Undo has a time of its own: the call's may be over. */
const UNDO_TIMEOUT_MS = 60_000;

type Removal = Extract<DriverEvent, { type: 'device-removed' | 'device-removal-failed' | 'lifecycle' }>;

/** One change of the devices of one instance. */
export class DeviceChange {
  readonly instance: Instance;
  readonly context: CallContext;
  readonly domain: NativeDomain;
  readonly running: boolean;
  readonly host: DomainHost;
  readonly undo: Undo;
  readonly #paused: boolean;
  readonly #devices: DeviceHost;
  readonly #files: InstanceFiles;
  readonly #disks: InstanceDisks | undefined;

  private constructor(
    devices: DeviceHost,
    instance: Instance,
    context: CallContext,
    found: {
      readonly domain: NativeDomain;
      readonly running: boolean;
      readonly paused: boolean;
      readonly files: InstanceFiles;
      readonly disks: InstanceDisks | undefined;
    },
    undo: Undo,
  ) {
    this.instance = instance;
    this.context = context;
    this.domain = found.domain;
    this.running = found.running;
    this.undo = undo;
    this.#paused = found.paused;
    this.#devices = devices;
    this.#files = found.files;
    this.#disks = found.disks;
    this.host = devices.domainHost(instance, found.files, found.disks);
  }

  /**
   * Runs the change under a deadline; what it registered with `undo` is undone where it fails. Rejects with
   * `INSTANCE_NOT_FOUND`, `INVALID_STATE` where it is suspended to disk.
   */
  static async run<T>(
    devices: DeviceHost,
    operation: string,
    instance: Instance,
    options: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number | undefined },
    work: (change: DeviceChange) => Promise<T>,
  ): Promise<T> {
    const { uuid } = instance;
    const waits = devices.detachTimeoutMs * devices.detachAttempts;
    using deadline = new Deadline({
      operation,
      instanceUuid: uuid,
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? CHANGE_TIMEOUT_MS + waits,
    });
    const undo = new Undo();
    try {
      deadline.check();
      const context = { operation, instanceUuid: uuid, signal: deadline.signal };
      const domain = await devices.hypervisor.domain(uuid, context);
      const info = await devices.domains.info(domain, context);
      const state = powerState(info.state, info.saved);
      // Its memory knows the devices that it had.
      if (state === 'suspended') throw wrongState(context, state, 'resume it first');
      const paused = state === 'paused';
      const files = new InstanceFiles(devices.instancesPath, uuid);
      const disks = await files.readDisks(context);
      // They would be gone with the rescue, or come back with its end.
      if (disks?.['disk.rescue']) throw rescued(context);
      const found = { domain, running: state === 'running' || paused, paused, files, disks };
      return await work(new DeviceChange(devices, instance, context, found, undo));
    } catch (error) {
      for (const { name, error: failure } of await undo.run()) {
        const fields = { uuid, step: name, error: String(failure) };
        devices.logger.error(`a failed ${operation} could not be undone`, fields);
      }
      throw deadline.explain(error);
    }
  }

  /** What the running domain has just now; nothing where it has stopped since. */
  async live(context: CallContext = this.context): Promise<LiveDevices> {
    const { hypervisor, domains } = this.#devices;
    const xml = await hypervisor.onDomain(this.domain, context, (domain, id) => domain.xml(0, id));
    const state = powerState((await domains.info(this.domain, context)).state);
    if (state !== 'running' && state !== 'paused') return { disks: [], interfaces: [] };
    return parseDevices(xml);
  }

  /** One call on the running domain whose end is awaited, so that it can be undone. */
  async call<T>(
    run: (domain: NativeDomain, callId: number) => Promise<T>,
    context: CallContext = this.context,
  ): Promise<T> {
    return await this.#devices.hypervisor.onDomain(this.domain, { ...context, waitOnAbort: true }, run);
  }

  /** Throws what is wrong with the definition of that instance, before anything is changed. */
  checkDefinition(instance: Instance): void {
    this.#devices.definition(instance, this.#files, this.#disks);
  }

  /** The persistent definition and libvirt.xml become those of that instance; both are undone when the change fails. */
  async persist(instance: Instance): Promise<void> {
    this.undo.add('put the definition back', () => this.#write(this.instance, this.undoContext()));
    await this.#write(instance, this.context);
    if (this.context.signal?.aborted) throw this.context.signal.reason;
  }

  /** As {@link persist}, for what has happened already: it is not undone, and neither signal nor deadline stops it. */
  async persistForGood(instance: Instance): Promise<void> {
    this.undo.commit();
    const { signal: _late, ...context } = this.context;
    await this.#write(instance, context);
  }

  async #write(instance: Instance, context: CallContext): Promise<void> {
    const xml = this.#devices.definition(instance, this.#files, this.#disks);
    await this.#devices.domains.define(xml, context);
    await this.#files.writeDefinition(xml, context);
  }

  undoContext(): CallContext {
    const operation = `undo of ${this.context.operation}`;
    return { operation, instanceUuid: this.instance.uuid, timeoutMs: UNDO_TIMEOUT_MS };
  }

  /** Plugs it into the running domain; `find` finds it again where it has to be undone. */
  async attach(xml: string, find: FindAlias): Promise<void> {
    this.undo.add('detach the device', () => this.detach(find, 'device', this.undoContext()));
    await this.call((domain, id) => domain.attachDevice(xml, LIVE, id));
  }

  /**
   * Asks the running guest to let go and waits until it has. Gone already, and a domain that stops meanwhile, are
   * success. The return of libvirt's call says nothing, so it is the event that counts, and what the domain has then.
   */
  async detach(find: FindAlias, what: string, context: CallContext = this.context): Promise<void> {
    const { detachAttempts, detachTimeoutMs, hypervisor } = this.#devices;
    const alias = find(await this.live(context));
    if (alias === undefined) return;
    if (this.#paused) throw this.#stillPaused(what);
    using watch = hypervisor.watchFor(this.instance.uuid, 'detached', this.#removalOf(alias));
    let cause: unknown;
    for (let attempt = 1; attempt <= detachAttempts; attempt += 1) {
      const refused = await this.#ask(alias, context);
      if (refused !== undefined && find(await this.live(context)) === undefined) return;
      cause = refused ?? cause;
      const event = await within(watch.next({ ...context, timeoutMs: detachTimeoutMs }), context);
      if (event?.type === 'device-removal-failed') continue;
      // After an event too: another process's QEMU may have been started under the same name.
      if (find(await this.live(context)) === undefined) return;
    }
    throw new ComputeError(
      'DETACH_FAILED',
      `${this.context.operation}: the guest of instance ${this.instance.uuid} did not let go of ${what} in ${detachAttempts} attempts of ${detachTimeoutMs} ms; see whether it runs and answers hot plug, or stop the instance first`,
      {
        operation: this.context.operation,
        instanceUuid: this.instance.uuid,
        retryable: true,
        cause,
        details: { device: what, attempts: detachAttempts, timeoutMs: detachTimeoutMs },
      },
    );
  }

  #removalOf(alias: string): (event: DriverEvent) => event is Removal {
    const { uuid } = this.instance;
    return (event): event is Removal => {
      if (event.type === 'lifecycle') return event.uuid === uuid && event.event === 'stopped';
      const ofDevice = event.type === 'device-removed' || event.type === 'device-removal-failed';
      return ofDevice && event.uuid === uuid && event.alias === alias;
    };
  }

  /** What QEMU answers to a second request while the first is open is no failure: it is returned. */
  async #ask(alias: string, context: CallContext): Promise<unknown> {
    try {
      await this.#devices.hypervisor.onDomain(this.domain, context, (domain, id) =>
        domain.detachDeviceAlias(alias, LIVE, id),
      );
      return undefined;
    } catch (error) {
      // Gone in between, or stopped: what the domain has then tells.
      const moved = ComputeError.is(error) && error.code === 'INVALID_STATE';
      const answered =
        error instanceof LibvirtError &&
        MONITOR_ERRORS.has(error.libvirt.libvirtCode) &&
        error.code === 'HYPERVISOR';
      if (moved || answered || deviceMissing(error)) return error;
      throw error;
    }
  }

  #stillPaused(what: string): ComputeError {
    return new ComputeError(
      'INVALID_STATE',
      `${this.context.operation}: instance ${this.instance.uuid} is paused and cannot let go of ${what}; unpause it first`,
      {
        operation: this.context.operation,
        instanceUuid: this.instance.uuid,
        details: { powerState: 'paused' },
      },
    );
  }
}

/** The alias of the device in question, where the domain has it. */
export type FindAlias = (devices: LiveDevices) => string | undefined;

/** VIR_ERR_DEVICE_MISSING. */
function deviceMissing(error: unknown): boolean {
  return error instanceof LibvirtError && error.libvirt.libvirtCode === 99;
}

/** The event, or undefined when its time is over. */
async function within<E>(event: Promise<E>, context: CallContext): Promise<E | undefined> {
  try {
    return await event;
  } catch (error) {
    if (ComputeError.is(error) && error.code === 'TIMEOUT' && !context.signal?.aborted) return undefined;
    throw error;
  }
}
