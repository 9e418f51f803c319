// What every method of the fake driver goes through: faults, signal, deadline, and the state of its instance.
import { BaseDriver } from '../driver/base-driver.js';
import type { CallOptions, SpawnStep } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import { EventStream } from '../driver/event-stream.js';
import { checkInstanceUuid } from '../driver/identity.js';
import type { DriverEvent, Instance } from '../driver/model.js';
import { FakeCall } from './fake-call.js';
import { type FakeDomain, FakeHypervisor } from './fake-hypervisor.js';
import { type FakeCallName, Faults } from './faults.js';

/** How a fake guest behaves. */
export interface FakeGuest {
  /** Milliseconds from the ACPI request to the guest's shutdown; `never`: it does not listen. Default 0. */
  readonly shutdownMs?: number | 'never';
  /** It never lets go of a device. Default false. */
  readonly keepsDevices?: boolean;
  /** It does not follow a change of its memory and vCPUs while it runs. Default false. */
  readonly keepsSize?: boolean;
  /** Written to the console at each start. Default `<name> booted\n`. */
  readonly greeting?: string;
}

export interface FakeDriverOptions {
  /** The machine; give a second driver the same one to act out a restart. Default a new one. */
  readonly hypervisor?: FakeHypervisor;
  readonly faults?: Faults;
  readonly guest?: (instance: Instance) => FakeGuest;
  /** Milliseconds that the first fetch of an image takes. Default 0. */
  readonly imageFetchMs?: number;
  /** Milliseconds that a step of spawn takes. Default 0. */
  readonly stepMs?: Readonly<Partial<Record<SpawnStep, number>>>;
  /** Write `disk` and `libvirt.xml` below `instancesPath`; needs the addon. Default false. */
  readonly files?: boolean;
  /** Given by ComputeNode. */
  readonly instancesPath?: string;
}

const CALL_TIMEOUT_MS = 60_000;

/** The part of {@link FakeDriver} that is the same for every call. */
export abstract class FakeDriverCalls extends BaseDriver {
  readonly hypervisor: FakeHypervisor;
  readonly faults: Faults;
  protected readonly options: FakeDriverOptions;
  protected readonly eventStream: EventStream = new EventStream();
  readonly #running = new Map<FakeCall, Promise<unknown>>();
  #unlisten: (() => void) | undefined;
  #state: 'new' | 'open' | 'closed' = 'new';

  constructor(options: FakeDriverOptions) {
    super();
    this.options = options;
    this.hypervisor = options.hypervisor ?? new FakeHypervisor();
    this.faults = options.faults ?? new Faults();
  }

  async initHost(options: CallOptions = {}): Promise<void> {
    if (this.#state === 'new') {
      this.#state = 'open';
      this.#unlisten = this.hypervisor.listen((event) => this.eventStream.publish(event));
    }
    await this.call('initHost', undefined, options, async () => undefined);
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    for (const call of this.#running.keys()) {
      call.deadline.end('CLOSED', 'was cut short: the driver is closing');
    }
    await Promise.allSettled(this.#running.values());
    this.#unlisten?.();
    this.eventStream.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  events(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<DriverEvent> {
    return this.eventStream.subscribe(options);
  }

  /** Every call goes through here: refused when closed, known to close(), ended by signal and deadline. */
  protected async call<T>(
    operation: FakeCallName,
    uuid: string | undefined,
    options: CallOptions,
    work: (call: FakeCall) => Promise<T>,
  ): Promise<T> {
    if (uuid !== undefined) checkInstanceUuid(uuid, operation);
    if (this.#state !== 'open') throw closed(operation, uuid);
    using call = new FakeCall(this.faults, {
      operation,
      instanceUuid: uuid,
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? CALL_TIMEOUT_MS,
    });
    const running = call.point(operation).then(() => work(call));
    this.#running.set(call, running);
    try {
      return await running;
    } catch (error) {
      if (ComputeError.is(error)) throw error;
      throw new ComputeError('INTERNAL', `${operation} failed: ${String(error)}`, {
        operation,
        instanceUuid: uuid,
        cause: error,
      });
    } finally {
      this.#running.delete(call);
    }
  }

  protected domain(call: FakeCall): FakeDomain {
    const domain = this.hypervisor.domains.get(call.instanceUuid ?? '');
    if (!domain) throw call.notFound();
    return domain;
  }

  /** Gives the guest its time; it may or may not have stopped when this resolves. */
  protected async askToShutDown(instance: Instance, timeoutMs: number, call: FakeCall): Promise<void> {
    const { shutdownMs = 0 } = this.options.guest?.(instance) ?? {};
    if (timeoutMs <= 0) return;
    if (shutdownMs === 'never' || shutdownMs > timeoutMs) {
      await call.wait(timeoutMs);
      return;
    }
    await call.wait(shutdownMs);
    this.hypervisor.stop(instance.uuid, 'shutdown');
  }

  /** From its memory where it has been suspended, else from its disk. */
  protected bringUp(instance: Instance, call: FakeCall): void {
    const { domains, disks } = this.hypervisor;
    if (!disks.has(instance.uuid)) throw call.notFound();
    const domain = domains.get(instance.uuid);
    if (domain?.state === 'suspended') {
      this.hypervisor.addTaps(instance);
      this.hypervisor.resume(instance.uuid);
      return;
    }
    if (domain) this.hypervisor.redefine(instance);
    else this.hypervisor.define(instance);
    this.start(instance);
  }

  protected start(instance: Instance): void {
    this.hypervisor.addTaps(instance);
    this.hypervisor.start(instance.uuid, this.greeting(instance));
  }

  protected greeting(instance: Instance): string {
    return this.options.guest?.(instance).greeting ?? `${instance.name} booted\n`;
  }
}

function closed(operation: string, instanceUuid: string | undefined): ComputeError {
  return new ComputeError('CLOSED', `${operation}: the driver is not open`, { operation, instanceUuid });
}
