// FakeDriver: a hypervisor in memory with the behaviour of a real one, for tests of whatever embeds a driver.
import type {
  CacheImageOptions,
  CacheOutcome,
  CallOptions,
  ComputeDriver,
  DestroyOptions,
  DriverCapabilities,
  FinishMigrationOptions,
  PowerOffOptions,
  RebootOptions,
  RebootType,
  RebuildOptions,
  RescueOptions,
  SnapshotOptions,
  SpawnOptions,
  SpawnResult,
  UnrescueOptions,
  UsageOptions,
} from '../driver/compute-driver.js';
import type { Diagnostics } from '../driver/diagnostics.js';
import { ComputeError } from '../driver/errors.js';
import { checkInstanceIdentity } from '../driver/identity.js';
import type { ImageCacheMetrics } from '../driver/image-cache.js';
import type { NodeInventory } from '../driver/inventory.js';
import type {
  AvailableResource,
  Flavor,
  ImageMeta,
  Instance,
  InstanceInfo,
  InstanceSummary,
  Vif,
} from '../driver/model.js';
import type { SnapshotResult, SnapshotTarget } from '../driver/snapshot.js';
import type { InstanceUsage } from '../driver/usage.js';
import type { AttachedVolume, VolumeConnection } from '../driver/volume.js';
import { FakeDevices } from './fake-devices.js';
import { FakeDriverCalls, type FakeDriverOptions } from './fake-driver-calls.js';
import { FakeFiles } from './fake-files.js';
import { checkFilters } from './fake-filters.js';
import { FakeImageCache } from './fake-image-cache.js';
import { availableResource, diagnosticsOf, FAKE_CAPABILITIES, infoOf } from './fake-report.js';
import { type FakeChanger, rebuildFake, rescueFake, settleFakeRebuild, unrescueFake } from './fake-rescue.js';
import { FakeResize } from './fake-resize.js';
import { snapshotFake, undoFakeSnapshot } from './fake-snapshot.js';
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
  readonly #resize: FakeResize;

  constructor(options: FakeDriverOptions = {}) {
    super(options);
    this.#devices = new FakeDevices(
      this.hypervisor,
      (instance) => options.guest?.(instance).keepsDevices ?? false,
    );
    this.#files = new FakeFiles(options.files ? options.instancesPath : undefined);
    this.#resize = new FakeResize({
      hypervisor: this.hypervisor,
      files: this.#files,
      askToShutDown: (instance, timeoutMs, call) => this.askToShutDown(instance, timeoutMs, call),
      start: (instance) => this.start(instance),
      keepsSize: (instance) => options.guest?.(instance).keepsSize ?? false,
    });
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
        checkFilters(instance.vifs, call);
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
      this.hypervisor.forget(uuid);
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
      this.hypervisor.redefine(instance);
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

  override async migrateDiskAndPowerOff(
    instance: Instance,
    flavor: Flavor,
    options: PowerOffOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'migrateDiskAndPowerOff');
    await this.call('migrateDiskAndPowerOff', instance.uuid, options, (call) =>
      this.#resize.begin(instance, flavor, options.shutdownTimeoutMs ?? 0, call),
    );
  }

  override async finishMigration(instance: Instance, options: FinishMigrationOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'finishMigration');
    await this.call('finishMigration', instance.uuid, options, (call) =>
      this.#resize.finish(instance, options.powerOn ?? true, call),
    );
  }

  override async confirmMigration(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'confirmMigration');
    await this.call('confirmMigration', instance.uuid, options, (call) =>
      this.#resize.confirm(instance, call),
    );
  }

  override async finishRevertMigration(
    instance: Instance,
    options: FinishMigrationOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'finishRevertMigration');
    await this.call('finishRevertMigration', instance.uuid, options, (call) =>
      this.#resize.revert(instance, options.powerOn ?? true, call),
    );
  }

  override async liveResize(instance: Instance, flavor: Flavor, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'liveResize');
    await this.call('liveResize', instance.uuid, options, (call) =>
      this.#resize.live(instance, flavor, call),
    );
  }

  /** The bridges of a fake host are always there. */
  override async plugVifs(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'plugVifs');
    await this.call('plugVifs', instance.uuid, options, async () => undefined);
  }

  override async unplugVifs(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'unplugVifs');
    await this.call('unplugVifs', instance.uuid, options, async (call) =>
      this.#devices.unplug(instance, call),
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

  override async rescue(instance: Instance, image: ImageMeta, options: RescueOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'rescue');
    const { signal, timeoutMs = SPAWN_TIMEOUT_MS } = options;
    await this.call('rescue', instance.uuid, { signal, timeoutMs }, (call) =>
      rescueFake(this.#changer(), instance, image, options, call),
    );
  }

  override async unrescue(instance: Instance, options: UnrescueOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'unrescue');
    const { powerOn = true } = options;
    await this.call('unrescue', instance.uuid, options, (call) =>
      unrescueFake(this.#changer(), instance, powerOn, call),
    );
  }

  override async rebuild(
    instance: Instance,
    image: ImageMeta,
    options: RebuildOptions = {},
  ): Promise<SpawnResult> {
    checkInstanceIdentity(instance, 'rebuild');
    const { signal, timeoutMs = SPAWN_TIMEOUT_MS } = options;
    return await this.call('rebuild', instance.uuid, { signal, timeoutMs }, async (call) => {
      const outcome = await rebuildFake(this.#changer(), { ...instance, image }, options, call);
      return { ...outcome, info: infoOf(this.domain(call)) };
    });
  }

  override async settleRebuild(
    instance: Instance,
    outcome: 'old' | 'new',
    options: CallOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'settleRebuild');
    await this.call('settleRebuild', instance.uuid, options, (call) =>
      settleFakeRebuild(this.#changer(), instance, outcome, call),
    );
  }

  #changer(): FakeChanger {
    return {
      hypervisor: this.hypervisor,
      files: this.#files,
      images: this.#images,
      halt: async (instance, timeoutMs, call) => {
        await this.askToShutDown(instance, timeoutMs, call);
        this.hypervisor.stop(instance.uuid, 'destroyed');
      },
      boot: (instance) => {
        if (!this.hypervisor.domains.has(instance.uuid)) this.hypervisor.define(instance);
        this.start(instance);
      },
    };
  }

  override async snapshot(
    instance: Instance,
    target: SnapshotTarget,
    options: SnapshotOptions = {},
  ): Promise<SnapshotResult> {
    const { signal, timeoutMs = SPAWN_TIMEOUT_MS } = options;
    return await this.call('snapshot', instance.uuid, { signal, timeoutMs }, (call) =>
      snapshotFake(this.hypervisor, this.domain(call), target, options, call),
    );
  }

  override async undoSnapshot(
    instance: Instance,
    target: SnapshotTarget,
    options: CallOptions = {},
  ): Promise<void> {
    await this.call('undoSnapshot', instance.uuid, options, async () =>
      undoFakeSnapshot(this.hypervisor, instance.uuid, target),
    );
  }

  override async setDiskThreshold(
    uuid: string,
    device: string,
    bytes: number,
    options: CallOptions = {},
  ): Promise<void> {
    await this.call('setDiskThreshold', uuid, options, async (call) =>
      this.#devices.setThreshold(device, bytes, call),
    );
  }

  override async getDiagnostics(uuid: string, options: CallOptions = {}): Promise<Diagnostics> {
    return await this.call('getDiagnostics', uuid, options, async (call) => {
      const domain = this.domain(call);
      if (domain.state !== 'running' && domain.state !== 'paused') {
        throw call.invalidState(`it is ${domain.state}, not running`);
      }
      return diagnosticsOf(domain, this.hypervisor.rescued.has(uuid));
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
