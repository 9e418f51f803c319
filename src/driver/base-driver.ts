// What a driver starts from: a contract of which every optional part is refused.
import type { Duplex } from 'node:stream';
import type {
  CacheImageOptions,
  CacheOutcome,
  CallOptions,
  OpenConsoleOptions,
  SpawnOptions,
  SpawnResult,
  UsageOptions,
} from './compute-driver.js';
import type { ConsoleEndpoint, Screenshot } from './console.js';
import type { Diagnostics } from './diagnostics.js';
import { unsupported } from './errors.js';
import type { ImageCacheMetrics } from './image-cache.js';
import type { NodeInventory } from './inventory.js';
import type { ImageMeta, Instance, Vif } from './model.js';
import type { InstanceUsage } from './usage.js';
import type { AttachedVolume, VolumeConnection } from './volume.js';

/** Base of a driver: every optional method rejects as unsupported until the driver overrides it and raises the flag. */
export abstract class BaseDriver {
  abstract readonly name: string;

  #unsupported(operation: string, instance?: string | { readonly uuid: string }): Promise<never> {
    const uuid = typeof instance === 'string' ? instance : instance?.uuid;
    return Promise.reject(unsupported(this.name, operation, uuid));
  }

  pause(uuid: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('pause', uuid);
  }
  unpause(uuid: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('unpause', uuid);
  }
  getConsoleOutput(
    uuid: string,
    _options?: CallOptions & { readonly maxBytes?: number },
  ): Promise<Uint8Array> {
    return this.#unsupported('getConsoleOutput', uuid);
  }
  suspend(uuid: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('suspend', uuid);
  }
  resume(instance: Instance, _options?: CallOptions): Promise<void> {
    return this.#unsupported('resume', instance);
  }
  resumeStateOnHostBoot(instance: Instance, _options?: CallOptions): Promise<void> {
    return this.#unsupported('resumeStateOnHostBoot', instance);
  }
  triggerCrashDump(uuid: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('triggerCrashDump', uuid);
  }
  rescue(instance: Instance, _image: ImageMeta, _options?: CallOptions): Promise<void> {
    return this.#unsupported('rescue', instance);
  }
  unrescue(instance: Instance, _options?: CallOptions): Promise<void> {
    return this.#unsupported('unrescue', instance);
  }
  rebuild(instance: Instance, _image: ImageMeta, _options?: SpawnOptions): Promise<SpawnResult> {
    return this.#unsupported('rebuild', instance);
  }
  snapshot(instance: Instance, _imageId: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('snapshot', instance);
  }
  migrateDiskAndPowerOff(
    instance: Instance,
    _flavor: Instance['flavor'],
    _options?: CallOptions,
  ): Promise<void> {
    return this.#unsupported('migrateDiskAndPowerOff', instance);
  }
  finishMigration(instance: Instance, _options?: CallOptions): Promise<void> {
    return this.#unsupported('finishMigration', instance);
  }
  confirmMigration(instance: Instance, _options?: CallOptions): Promise<void> {
    return this.#unsupported('confirmMigration', instance);
  }
  finishRevertMigration(instance: Instance, _options?: CallOptions): Promise<void> {
    return this.#unsupported('finishRevertMigration', instance);
  }
  liveMigration(instance: Instance, _destination: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('liveMigration', instance);
  }
  attachVolume(
    instance: Instance,
    _volume: VolumeConnection,
    _device: string | undefined,
    _options?: CallOptions,
  ): Promise<AttachedVolume> {
    return this.#unsupported('attachVolume', instance);
  }
  detachVolume(instance: Instance, _volume: VolumeConnection, _options?: CallOptions): Promise<void> {
    return this.#unsupported('detachVolume', instance);
  }
  extendVolume(
    instance: Instance,
    _volume: VolumeConnection,
    _sizeBytes: number,
    _options?: CallOptions,
  ): Promise<void> {
    return this.#unsupported('extendVolume', instance);
  }
  swapVolume(
    instance: Instance,
    _from: VolumeConnection,
    _to: VolumeConnection,
    _options?: CallOptions,
  ): Promise<AttachedVolume> {
    return this.#unsupported('swapVolume', instance);
  }
  attachInterface(instance: Instance, _vif: Vif, _options?: CallOptions): Promise<void> {
    return this.#unsupported('attachInterface', instance);
  }
  detachInterface(instance: Instance, _vif: Vif, _options?: CallOptions): Promise<void> {
    return this.#unsupported('detachInterface', instance);
  }
  getDiagnostics(uuid: string, _options?: CallOptions): Promise<Diagnostics> {
    return this.#unsupported('getDiagnostics', uuid);
  }
  getVncConsole(uuid: string, _options?: CallOptions): Promise<ConsoleEndpoint> {
    return this.#unsupported('getVncConsole', uuid);
  }
  getSpiceConsole(uuid: string, _options?: CallOptions): Promise<ConsoleEndpoint> {
    return this.#unsupported('getSpiceConsole', uuid);
  }
  getSerialConsole(uuid: string, _options?: CallOptions): Promise<ConsoleEndpoint> {
    return this.#unsupported('getSerialConsole', uuid);
  }
  getScreenshot(uuid: string, _options?: CallOptions): Promise<Screenshot> {
    return this.#unsupported('getScreenshot', uuid);
  }
  openConsole(uuid: string, _options?: OpenConsoleOptions): Promise<Duplex> {
    return this.#unsupported('openConsole', uuid);
  }
  pingAgent(uuid: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('pingAgent', uuid);
  }
  setAdminPassword(
    instance: Pick<Instance, 'uuid' | 'image'>,
    _password: string,
    _options?: CallOptions & { readonly user?: string },
  ): Promise<void> {
    return this.#unsupported('setAdminPassword', instance);
  }
  setGuestTime(uuid: string, _options?: CallOptions): Promise<void> {
    return this.#unsupported('setGuestTime', uuid);
  }
  quiesce(uuid: string, _options?: CallOptions): Promise<number> {
    return this.#unsupported('quiesce', uuid);
  }
  unquiesce(uuid: string, _options?: CallOptions): Promise<number> {
    return this.#unsupported('unquiesce', uuid);
  }
  cacheImage(_image: ImageMeta, _options?: CacheImageOptions): Promise<CacheOutcome> {
    return this.#unsupported('cacheImage');
  }
  manageImageCache(_inUse: readonly string[], _options?: CallOptions): Promise<void> {
    return this.#unsupported('manageImageCache');
  }
  getImageCacheMetrics(_options?: CallOptions): Promise<ImageCacheMetrics> {
    return this.#unsupported('getImageCacheMetrics');
  }
  getInstancesUsage(_options?: UsageOptions): Promise<InstanceUsage[]> {
    return this.#unsupported('getInstancesUsage');
  }
  getInventory(_options?: CallOptions): Promise<NodeInventory> {
    return this.#unsupported('getInventory');
  }
}
