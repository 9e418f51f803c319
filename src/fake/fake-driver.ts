// FakeDriver: a hypervisor in memory with the behaviour of a real one, for tests of whatever embeds a driver.
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
  UsageOptions,
} from '../driver/compute-driver.js';
import type { Diagnostics } from '../driver/diagnostics.js';
import { ComputeError } from '../driver/errors.js';
import { checkInstanceIdentity } from '../driver/identity.js';
import type { ImageCacheMetrics } from '../driver/image-cache.js';
import type { NodeInventory } from '../driver/inventory.js';
import type {
  AvailableResource,
  ImageMeta,
  Instance,
  InstanceInfo,
  InstanceSummary,
  Vif,
} from '../driver/model.js';
import type { InstanceUsage } from '../driver/usage.js';
import type { AttachedVolume, VolumeConnection } from '../driver/volume.js';
import { FakeDevices } from './fake-devices.js';
import { FakeDriverCalls, type FakeDriverOptions } from './fake-driver-calls.js';
import { FakeFiles } from './fake-files.js';
import { FakeImageCache } from './fake-image-cache.js';
import { availableResource, diagnosticsOf, FAKE_CAPABILITIES, infoOf } from './fake-report.js';
import { spawnFake } from './fake-spawn.js';
import { inventoryOf, usageOf } from './fake-usage.js';

const SPAWN_TIMEOUT_MS = 600_000;
const SOFT_REBOOT_MS = 120_000;

/** Safe for concurrent calls as every driver. All state lives in its {@link FakeHypervisor}. */
export class FakeDriver extends FakeDriverCalls implements ComputeDriver {
  readonly name = 'fake.FakeDriver';
  readonly capabilities: DriverCapabilities = FAKE_CAPABILITIES;
  readonly #files: FakeFiles;
  readonly #images: FakeImageCache;
  readonly #devices: FakeDevices;

  constructor(options: FakeDriverOptions = {}) {
    super(options);
    this.#devices = new FakeDevices(
      this.hypervisor,
      (instance) => options.guest?.(instance).keepsDevices ?? false,
    );
    this.#files = new FakeFiles(options.files ? options.instancesPath : undefined);
    this.#images = new FakeImageCache(this.hypervisor, options.imageFetchMs ?? 0, (event) =>
      this.eventStream.publish({ type: 'image-cache', event }),
    );
  }

  async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
    checkInstanceIdentity(instance, 'spawn');
    const { uuid } = instance;
    return await this.call(
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
          stepMs: this.options.stepMs ?? {},
          greeting: this.greeting(instance),
        };
        const outcome = await spawnFake(context, instance, options, call);
        return { ...outcome, info: infoOf(this.domain(call)) };
      },
    );
  }

  async destroy(instance: Pick<Instance, 'uuid' | 'vifs'>, options: DestroyOptions = {}): Promise<void> {
    const { uuid } = instance;
    await this.call('destroy', uuid, options, async () => {
      this.hypervisor.stop(uuid, 'destroyed');
      this.hypervisor.undefine(uuid);
      this.hypervisor.removeTaps(uuid);
      if (options.destroyDisks === false) return;
      this.hypervisor.removeDisk(uuid);
      await this.#files.remove(uuid);
    });
  }

  async powerOff(uuid: string, options: PowerOffOptions = {}): Promise<void> {
    await this.call('powerOff', uuid, options, async (call) => {
      const { state, instance } = this.domain(call);
      if (state === 'suspended') throw call.invalidState('it is suspended; resume it first');
      if (state === 'running') await this.askToShutDown(instance, options.shutdownTimeoutMs ?? 0, call);
      this.hypervisor.stop(uuid, 'destroyed');
    });
  }

  async powerOn(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'powerOn');
    const { uuid } = instance;
    await this.call('powerOn', uuid, options, async (call) => {
      const domain = this.hypervisor.domains.get(uuid);
      if (domain?.state === 'running') return;
      if (domain?.state === 'paused') throw call.invalidState('it is paused; unpause it');
      this.bringUp(instance, call);
    });
  }

  async reboot(instance: Instance, type: RebootType, options: RebootOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'reboot');
    await this.call('reboot', instance.uuid, options, async (call) => {
      const state = this.hypervisor.domains.get(instance.uuid)?.state;
      if (!this.hypervisor.disks.has(instance.uuid)) throw call.notFound();
      if (state === undefined) this.hypervisor.define(instance);
      if (type === 'soft' && state === 'running') {
        await this.askToShutDown(instance, options.shutdownTimeoutMs ?? SOFT_REBOOT_MS, call);
      }
      this.hypervisor.stop(instance.uuid, 'destroyed');
      this.start(instance);
    });
  }

  override async pause(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.call('pause', uuid, options, async (call) => {
      const { state } = this.domain(call);
      if (state === 'paused') return;
      if (state !== 'running') throw call.invalidState(`it is ${state}, not running`);
      this.hypervisor.pause(uuid);
    });
  }

  override async unpause(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.call('unpause', uuid, options, async (call) => {
      const { state } = this.domain(call);
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
    return await this.call('attachVolume', instance.uuid, options, async (call) =>
      this.#devices.attachVolume(volume, device, call),
    );
  }

  override async detachVolume(
    instance: Instance,
    volume: VolumeConnection,
    options: CallOptions = {},
  ): Promise<void> {
    await this.call('detachVolume', instance.uuid, options, async (call) =>
      this.#devices.detachVolume(volume, call),
    );
  }

  override async extendVolume(
    instance: Instance,
    volume: VolumeConnection,
    sizeBytes: number,
    options: CallOptions = {},
  ): Promise<void> {
    await this.call('extendVolume', instance.uuid, options, async (call) =>
      this.#devices.extendVolume(volume, sizeBytes, call),
    );
  }

  override async swapVolume(
    instance: Instance,
    from: VolumeConnection,
    to: VolumeConnection,
    options: CallOptions = {},
  ): Promise<AttachedVolume> {
    return await this.call('swapVolume', instance.uuid, options, async (call) =>
      this.#devices.swapVolume(from, to, call),
    );
  }

  override async attachInterface(instance: Instance, vif: Vif, options: CallOptions = {}): Promise<void> {
    await this.call('attachInterface', instance.uuid, options, async (call) =>
      this.#devices.attachInterface(vif, call),
    );
  }

  override async detachInterface(instance: Instance, vif: Vif, options: CallOptions = {}): Promise<void> {
    await this.call('detachInterface', instance.uuid, options, async (call) =>
      this.#devices.detachInterface(vif, call),
    );
  }

  override async suspend(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.call('suspend', uuid, options, async (call) => {
      const { state } = this.domain(call);
      if (state === 'suspended') return;
      if (state !== 'running') throw call.invalidState(`it is ${state}, not running`);
      this.hypervisor.suspend(uuid);
    });
  }

  override async resume(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'resume');
    await this.call('resume', instance.uuid, options, async (call) => {
      const { state } = this.domain(call);
      if (state === 'running') return;
      if (state !== 'suspended') throw call.invalidState(`it is ${state}, not suspended`);
      this.bringUp(instance, call);
    });
  }

  override async resumeStateOnHostBoot(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'resumeStateOnHostBoot');
    await this.call('resumeStateOnHostBoot', instance.uuid, options, async (call) => {
      const state = this.hypervisor.domains.get(instance.uuid)?.state;
      if (state !== 'running' && state !== 'paused') this.bringUp(instance, call);
    });
  }

  override async triggerCrashDump(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.call('triggerCrashDump', uuid, options, async (call) => {
      const { state } = this.domain(call);
      if (state !== 'running' && state !== 'paused') throw call.invalidState(`it is ${state}, not running`);
      this.hypervisor.injectNmi(uuid);
    });
  }

  override async getDiagnostics(uuid: string, options: CallOptions = {}): Promise<Diagnostics> {
    return await this.call('getDiagnostics', uuid, options, async (call) => {
      const domain = this.domain(call);
      if (domain.state !== 'running' && domain.state !== 'paused') {
        throw call.invalidState(`it is ${domain.state}, not running`);
      }
      return diagnosticsOf(domain);
    });
  }

  async getInfo(uuid: string, options: CallOptions = {}): Promise<InstanceInfo> {
    return await this.call('getInfo', uuid, options, async (call) => infoOf(this.domain(call)));
  }

  async instanceExists(uuid: string, options: CallOptions = {}): Promise<boolean> {
    return await this.call('instanceExists', uuid, options, async () => this.hypervisor.domains.has(uuid));
  }

  async listInstances(options: CallOptions = {}): Promise<InstanceSummary[]> {
    return await this.call('listInstances', undefined, options, async () =>
      [...this.hypervisor.domains.values()].map(({ instance, state }) => ({
        uuid: instance.uuid,
        name: instance.name,
        powerState: state,
      })),
    );
  }

  async getAvailableResource(options: CallOptions = {}): Promise<AvailableResource> {
    return await this.call('getAvailableResource', undefined, options, async () =>
      availableResource(this.hypervisor),
    );
  }

  override async getConsoleOutput(
    uuid: string,
    options: CallOptions & { readonly maxBytes?: number } = {},
  ): Promise<Uint8Array> {
    return await this.call('getConsoleOutput', uuid, options, async (call) => {
      const bytes = Buffer.from(this.domain(call).console);
      return bytes.subarray(Math.max(0, bytes.length - (options.maxBytes ?? 102_400)));
    });
  }

  override async cacheImage(image: ImageMeta, options: CacheImageOptions = {}): Promise<CacheOutcome> {
    const { signal, timeoutMs = SPAWN_TIMEOUT_MS, onProgress } = options;
    return await this.call('cacheImage', undefined, { signal, timeoutMs }, (call) =>
      this.#images.provide(image, call, (progress) => onProgress?.(progress)),
    );
  }

  override async manageImageCache(inUse: readonly string[], options: CallOptions = {}): Promise<void> {
    await this.call('manageImageCache', undefined, options, async () => this.#images.prune(inUse));
  }

  override async getImageCacheMetrics(options: CallOptions = {}): Promise<ImageCacheMetrics> {
    return await this.call('getImageCacheMetrics', undefined, options, async () => this.#images.metrics);
  }

  override async getInstancesUsage(options: UsageOptions = {}): Promise<InstanceUsage[]> {
    return await this.call('getInstancesUsage', undefined, options, async () =>
      [...this.hypervisor.domains.values()].map((domain) => usageOf(domain, options.groups)),
    );
  }

  override async getInventory(options: CallOptions = {}): Promise<NodeInventory> {
    return await this.call('getInventory', undefined, options, async () => inventoryOf(this.hypervisor.host));
  }
}
