// FakeDriver: a hypervisor in memory with the behaviour of a real one, for tests of whatever embeds a driver.
import { BaseDriver } from '../driver/base-driver.js';
import type {
  CacheImageOptions,
  CacheOutcome,
  CallOptions,
  ComputeDriver,
  DestroyOptions,
  DriverCapabilities,
  PowerOffOptions,
  RebootOptions,
  RebootType,
  SpawnOptions,
  SpawnResult,
  SpawnStep,
} from '../driver/compute-driver.js';
import type { Diagnostics } from '../driver/diagnostics.js';
import { ComputeError } from '../driver/errors.js';
import { EventStream } from '../driver/event-stream.js';
import { checkInstanceIdentity, checkInstanceUuid } from '../driver/identity.js';
import type { ImageCacheMetrics } from '../driver/image-cache.js';
import type {
  AvailableResource,
  DriverEvent,
  ImageMeta,
  Instance,
  InstanceInfo,
  InstanceSummary,
  Vif,
} from '../driver/model.js';
import type { AttachedVolume, VolumeConnection } from '../driver/volume.js';
import { FakeCall } from './fake-call.js';
import { FakeDevices } from './fake-devices.js';
import { FakeFiles } from './fake-files.js';
import { type FakeDomain, FakeHypervisor, type FakeLifecycle } from './fake-hypervisor.js';
import { FakeImageCache } from './fake-image-cache.js';
import { availableResource, diagnosticsOf, FAKE_CAPABILITIES, infoOf } from './fake-report.js';
import { spawnFake } from './fake-spawn.js';
import { type FakeCallName, Faults } from './faults.js';

/** How a fake guest behaves. */
export interface FakeGuest {
  /** Milliseconds from the ACPI request to the guest's shutdown; `never`: it does not listen. Default 0. */
  readonly shutdownMs?: number | 'never';
  /** It never lets go of a device. Default false. */
  readonly keepsDevices?: boolean;
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

const SPAWN_TIMEOUT_MS = 600_000;
const CALL_TIMEOUT_MS = 60_000;
const SOFT_REBOOT_MS = 120_000;

/** Safe for concurrent calls as every driver. All state lives in its {@link FakeHypervisor}. */
export class FakeDriver extends BaseDriver implements ComputeDriver {
  readonly name = 'fake.FakeDriver';
  readonly capabilities: DriverCapabilities = FAKE_CAPABILITIES;
  readonly hypervisor: FakeHypervisor;
  readonly faults: Faults;
  readonly #options: FakeDriverOptions;
  readonly #files: FakeFiles;
  readonly #images: FakeImageCache;
  readonly #devices: FakeDevices;
  readonly #events = new EventStream();
  readonly #running = new Map<FakeCall, Promise<unknown>>();
  #unlisten: (() => void) | undefined;
  #state: 'new' | 'open' | 'closed' = 'new';

  constructor(options: FakeDriverOptions = {}) {
    super();
    this.#options = options;
    this.hypervisor = options.hypervisor ?? new FakeHypervisor();
    this.faults = options.faults ?? new Faults();
    this.#devices = new FakeDevices(
      this.hypervisor,
      (instance) => options.guest?.(instance).keepsDevices ?? false,
    );
    this.#files = new FakeFiles(options.files ? options.instancesPath : undefined);
    this.#images = new FakeImageCache(this.hypervisor, options.imageFetchMs ?? 0, (event) =>
      this.#events.publish({ type: 'image-cache', event }),
    );
  }

  async initHost(options: CallOptions = {}): Promise<void> {
    if (this.#state === 'new') {
      this.#state = 'open';
      this.#unlisten = this.hypervisor.listen((event) => this.#publish(event));
    }
    await this.#call('initHost', undefined, options, async () => undefined);
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    for (const call of this.#running.keys()) {
      call.deadline.end('CLOSED', 'was cut short: the driver is closing');
    }
    await Promise.allSettled(this.#running.values());
    this.#unlisten?.();
    this.#events.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
    checkInstanceIdentity(instance, 'spawn');
    const { uuid } = instance;
    return await this.#call(
      'spawn',
      uuid,
      { signal: options.signal, timeoutMs: options.timeoutMs ?? SPAWN_TIMEOUT_MS },
      async (call) => {
        if (this.hypervisor.domains.has(uuid) || this.hypervisor.disks.has(uuid)) {
          throw new ComputeError('INSTANCE_EXISTS', `instance ${uuid} exists on this host already`, {
            operation: 'spawn',
            instanceUuid: uuid,
          });
        }
        const context = {
          hypervisor: this.hypervisor,
          files: this.#files,
          images: this.#images,
          stepMs: this.#options.stepMs ?? {},
          greeting: this.#greeting(instance),
        };
        const outcome = await spawnFake(context, instance, options, call);
        return { ...outcome, info: infoOf(this.#domain(call)) };
      },
    );
  }

  async destroy(instance: Pick<Instance, 'uuid' | 'vifs'>, options: DestroyOptions = {}): Promise<void> {
    const { uuid } = instance;
    await this.#call('destroy', uuid, options, async () => {
      this.hypervisor.stop(uuid, 'destroyed');
      this.hypervisor.undefine(uuid);
      this.hypervisor.removeTaps(uuid);
      if (options.destroyDisks === false) return;
      this.hypervisor.removeDisk(uuid);
      await this.#files.remove(uuid);
    });
  }

  async powerOff(uuid: string, options: PowerOffOptions = {}): Promise<void> {
    await this.#call('powerOff', uuid, options, async (call) => {
      const { state, instance } = this.#domain(call);
      if (state === 'suspended') throw call.invalidState('it is suspended; resume it first');
      if (state === 'running') await this.#askToShutDown(instance, options.shutdownTimeoutMs ?? 0, call);
      this.hypervisor.stop(uuid, 'destroyed');
    });
  }

  async powerOn(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'powerOn');
    const { uuid } = instance;
    await this.#call('powerOn', uuid, options, async (call) => {
      const domain = this.hypervisor.domains.get(uuid);
      if (domain?.state === 'running') return;
      if (domain?.state === 'paused') throw call.invalidState('it is paused; unpause it');
      this.#bringUp(instance, call);
    });
  }

  async reboot(instance: Instance, type: RebootType, options: RebootOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'reboot');
    await this.#call('reboot', instance.uuid, options, async (call) => {
      const state = this.hypervisor.domains.get(instance.uuid)?.state;
      if (!this.hypervisor.disks.has(instance.uuid)) throw call.notFound();
      if (state === undefined) this.hypervisor.define(instance);
      if (type === 'soft' && state === 'running') {
        await this.#askToShutDown(instance, options.shutdownTimeoutMs ?? SOFT_REBOOT_MS, call);
      }
      this.hypervisor.stop(instance.uuid, 'destroyed');
      this.#start(instance);
    });
  }

  override async pause(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#call('pause', uuid, options, async (call) => {
      const { state } = this.#domain(call);
      if (state === 'paused') return;
      if (state !== 'running') throw call.invalidState(`it is ${state}, not running`);
      this.hypervisor.pause(uuid);
    });
  }

  override async unpause(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#call('unpause', uuid, options, async (call) => {
      const { state } = this.#domain(call);
      if (state === 'running') return;
      if (state !== 'paused') throw call.invalidState(`it is ${state}, not paused`);
      this.hypervisor.unpause(uuid);
    });
  }

  override async attachVolume(
    instance: Instance,
    volume: VolumeConnection,
    device: string | undefined,
    options: CallOptions = {},
  ): Promise<AttachedVolume> {
    return await this.#call('attachVolume', instance.uuid, options, async (call) =>
      this.#devices.attachVolume(volume, device, call),
    );
  }

  override async detachVolume(
    instance: Instance,
    volume: VolumeConnection,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#call('detachVolume', instance.uuid, options, async (call) =>
      this.#devices.detachVolume(volume, call),
    );
  }

  override async extendVolume(
    instance: Instance,
    volume: VolumeConnection,
    sizeBytes: number,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#call('extendVolume', instance.uuid, options, async (call) =>
      this.#devices.extendVolume(volume, sizeBytes, call),
    );
  }

  override async swapVolume(
    instance: Instance,
    from: VolumeConnection,
    to: VolumeConnection,
    options: CallOptions = {},
  ): Promise<AttachedVolume> {
    return await this.#call('swapVolume', instance.uuid, options, async (call) =>
      this.#devices.swapVolume(from, to, call),
    );
  }

  override async attachInterface(instance: Instance, vif: Vif, options: CallOptions = {}): Promise<void> {
    await this.#call('attachInterface', instance.uuid, options, async (call) =>
      this.#devices.attachInterface(vif, call),
    );
  }

  override async detachInterface(instance: Instance, vif: Vif, options: CallOptions = {}): Promise<void> {
    await this.#call('detachInterface', instance.uuid, options, async (call) =>
      this.#devices.detachInterface(vif, call),
    );
  }

  override async suspend(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#call('suspend', uuid, options, async (call) => {
      const { state } = this.#domain(call);
      if (state === 'suspended') return;
      if (state !== 'running') throw call.invalidState(`it is ${state}, not running`);
      this.hypervisor.suspend(uuid);
    });
  }

  override async resume(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'resume');
    await this.#call('resume', instance.uuid, options, async (call) => {
      const { state } = this.#domain(call);
      if (state === 'running') return;
      if (state !== 'suspended') throw call.invalidState(`it is ${state}, not suspended`);
      this.#bringUp(instance, call);
    });
  }

  override async resumeStateOnHostBoot(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'resumeStateOnHostBoot');
    await this.#call('resumeStateOnHostBoot', instance.uuid, options, async (call) => {
      const state = this.hypervisor.domains.get(instance.uuid)?.state;
      if (state !== 'running' && state !== 'paused') this.#bringUp(instance, call);
    });
  }

  override async triggerCrashDump(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#call('triggerCrashDump', uuid, options, async (call) => {
      const { state } = this.#domain(call);
      if (state !== 'running' && state !== 'paused') throw call.invalidState(`it is ${state}, not running`);
      this.hypervisor.injectNmi(uuid);
    });
  }

  override async getDiagnostics(uuid: string, options: CallOptions = {}): Promise<Diagnostics> {
    return await this.#call('getDiagnostics', uuid, options, async (call) => {
      const domain = this.#domain(call);
      if (domain.state !== 'running' && domain.state !== 'paused') {
        throw call.invalidState(`it is ${domain.state}, not running`);
      }
      return diagnosticsOf(domain);
    });
  }

  async getInfo(uuid: string, options: CallOptions = {}): Promise<InstanceInfo> {
    return await this.#call('getInfo', uuid, options, async (call) => infoOf(this.#domain(call)));
  }

  async instanceExists(uuid: string, options: CallOptions = {}): Promise<boolean> {
    return await this.#call('instanceExists', uuid, options, async () => this.hypervisor.domains.has(uuid));
  }

  async listInstances(options: CallOptions = {}): Promise<InstanceSummary[]> {
    return await this.#call('listInstances', undefined, options, async () =>
      [...this.hypervisor.domains.values()].map(({ instance, state }) => ({
        uuid: instance.uuid,
        name: instance.name,
        powerState: state,
      })),
    );
  }

  async getAvailableResource(options: CallOptions = {}): Promise<AvailableResource> {
    return await this.#call('getAvailableResource', undefined, options, async () =>
      availableResource(this.hypervisor),
    );
  }

  override async getConsoleOutput(
    uuid: string,
    options: CallOptions & { readonly maxBytes?: number } = {},
  ): Promise<Uint8Array> {
    return await this.#call('getConsoleOutput', uuid, options, async (call) => {
      const bytes = Buffer.from(this.#domain(call).console);
      return bytes.subarray(Math.max(0, bytes.length - (options.maxBytes ?? 102_400)));
    });
  }

  override async cacheImage(image: ImageMeta, options: CacheImageOptions = {}): Promise<CacheOutcome> {
    const { signal, timeoutMs = SPAWN_TIMEOUT_MS, onProgress } = options;
    return await this.#call('cacheImage', undefined, { signal, timeoutMs }, (call) =>
      this.#images.provide(image, call, (progress) => onProgress?.(progress)),
    );
  }

  override async manageImageCache(inUse: readonly string[], options: CallOptions = {}): Promise<void> {
    await this.#call('manageImageCache', undefined, options, async () => this.#images.prune(inUse));
  }

  override async getImageCacheMetrics(options: CallOptions = {}): Promise<ImageCacheMetrics> {
    return await this.#call('getImageCacheMetrics', undefined, options, async () => this.#images.metrics);
  }

  events(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<DriverEvent> {
    return this.#events.subscribe(options);
  }

  /** Every call goes through here: refused when closed, known to close(), ended by signal and deadline. */
  async #call<T>(
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

  #domain(call: FakeCall): FakeDomain {
    const domain = this.hypervisor.domains.get(call.instanceUuid ?? '');
    if (!domain) throw call.notFound();
    return domain;
  }

  /** Gives the guest its time; it may or may not have stopped when this resolves. */
  async #askToShutDown(instance: Instance, timeoutMs: number, call: FakeCall): Promise<void> {
    const { shutdownMs = 0 } = this.#options.guest?.(instance) ?? {};
    if (timeoutMs <= 0) return;
    if (shutdownMs === 'never' || shutdownMs > timeoutMs) {
      await call.wait(timeoutMs);
      return;
    }
    await call.wait(shutdownMs);
    this.hypervisor.stop(instance.uuid, 'shutdown');
  }

  /** From its memory where it has been suspended, else from its disk. */
  #bringUp(instance: Instance, call: FakeCall): void {
    const { domains, disks } = this.hypervisor;
    if (!disks.has(instance.uuid)) throw call.notFound();
    const domain = domains.get(instance.uuid);
    if (domain?.state === 'suspended') {
      this.hypervisor.addTaps(instance);
      this.hypervisor.resume(instance.uuid);
      return;
    }
    if (!domain) this.hypervisor.define(instance);
    this.#start(instance);
  }

  #start(instance: Instance): void {
    this.hypervisor.addTaps(instance);
    this.hypervisor.start(instance.uuid, this.#greeting(instance));
  }

  #greeting(instance: Instance): string {
    return this.#options.guest?.(instance).greeting ?? `${instance.name} booted\n`;
  }

  #publish({ uuid, name, event, detail }: FakeLifecycle): void {
    if (event === 'reboot') this.#events.publish({ type: 'reboot', uuid, name });
    else if (event === 'device-removed') this.#events.publish({ type: event, uuid, name, alias: detail });
    else this.#events.publish({ type: 'lifecycle', uuid, name, event, detail });
  }
}

function closed(operation: string, instanceUuid: string | undefined): ComputeError {
  return new ComputeError('CLOSED', `${operation}: the driver is not open`, { operation, instanceUuid });
}
