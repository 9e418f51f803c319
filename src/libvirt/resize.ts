// Another flavor for an instance on its own host: its old disks are kept until the resize is confirmed or reverted.
import type { CallOptions, FinishMigrationOptions, PowerOffOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Flavor, Instance } from '../driver/model.js';
import { Undo } from '../driver/undo.js';
import type { ImageCache } from '../image/image-cache.js';
import type { BaseImage, DiskName } from '../image/types.js';
import type { NativeDomain } from '../native.js';
import type { DeviceHost } from './device-change.js';
import { type DiskChange, diskChanges } from './disk-changes.js';
import type { CallContext } from './hypervisor.js';
import { instanceCall, wrongState } from './instance-call.js';
import type { DiskInfo, InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { KeptDisks } from './kept-disks.js';
import { type Power, RETRY_INTERVAL_MS } from './power.js';
import type { SavedMemory } from './saved-memory.js';
import { powerState } from './states.js';
import { ownTargets } from './xml/single-device.js';

export interface ResizeHost
  extends Pick<
    DeviceHost,
    'instancesPath' | 'hypervisor' | 'domains' | 'logger' | 'domainHost' | 'definition'
  > {
  readonly images: ImageCache;
  readonly power: Power;
  readonly savedMemory: SavedMemory;
}

/** A disk may have to be copied. */
const RESIZE_TIMEOUT_MS = 600_000;
/** Undo has a time of its own: the call's may be over. */
const UNDO_TIMEOUT_MS = 120_000;

export class Resize {
  readonly #host: ResizeHost;

  constructor(host: ResizeHost) {
    this.#host = host;
  }

  async begin(instance: Instance, flavor: Flavor, options: PowerOffOptions): Promise<void> {
    const operation = 'migrateDiskAndPowerOff';
    const { shutdownTimeoutMs = 0 } = options;
    const timeoutMs = RESIZE_TIMEOUT_MS + shutdownTimeoutMs;
    await instanceCall(operation, instance.uuid, options, timeoutMs, async (context) => {
      const domain = await this.#host.hypervisor.domain(instance.uuid, context);
      const state = await this.#restingOrRunning(domain, context);
      const files = this.#files(instance);
      const kept = new KeptDisks(files);
      const { disks, changes } = await this.#checked(instance, flavor, files, context);
      // As long as it runs: what has to be made first does not lengthen its rest.
      for (const { name, how } of changes) {
        if (how === 'make') await this.#blankBase(name, flavor, instance, context);
      }
      const undo = new Undo();
      const undoContext = { operation: `undo of ${operation}`, timeoutMs: UNDO_TIMEOUT_MS };
      const late: CallContext = { ...undoContext, instanceUuid: instance.uuid };
      try {
        undo.add('forget the resize', () => kept.forget(late));
        await kept.begin(disks, context);
        if (state === 'running') {
          undo.add('start it again', () => this.#restart(instance, late));
          await this.#powerOff(domain, options, context);
        }
        for (const change of changes) await kept.keep(change, context);
        if (context.signal.aborted) throw context.signal.reason;
      } catch (error) {
        await this.#undo(undo, instance.uuid);
        throw error;
      }
    });
  }

  async finish(instance: Instance, options: FinishMigrationOptions): Promise<void> {
    const { uuid, flavor } = instance;
    await instanceCall('finishMigration', uuid, options, RESIZE_TIMEOUT_MS, async (context) => {
      const files = this.#files(instance);
      const kept = new KeptDisks(files);
      const before = await kept.read(context);
      if (before === undefined) throw await this.#notBegun(files, context);
      const disks: { [name in DiskName]?: DiskInfo | undefined } = { ...before };
      // A root disk of 0 GiB stays what it is: begin() has refused what would shrink.
      const changes = diskChanges(uuid, before, flavor, flavor);
      for (const change of changes) {
        disks[change.name] = await this.#change(instance, change, before, context);
      }
      if (changes.length > 0) await files.writeDisks(disks, context);
      const { power } = this.#host;
      if (options.powerOn ?? true) await power.start(instance, context);
      else await power.define(instance, context);
    });
  }

  async confirm(instance: Instance, options: CallOptions): Promise<void> {
    await instanceCall('confirmMigration', instance.uuid, options, RESIZE_TIMEOUT_MS, async (context) => {
      const files = this.#files(instance);
      await this.#assertDisk(files, context);
      await new KeptDisks(files).forget(context);
    });
  }

  async revert(instance: Instance, options: FinishMigrationOptions): Promise<void> {
    const operation = 'finishRevertMigration';
    const { powerOn = true } = options;
    await instanceCall(operation, instance.uuid, options, RESIZE_TIMEOUT_MS, async (context) => {
      const { domains, power, savedMemory } = this.#host;
      const files = this.#files(instance);
      await this.#assertDisk(files, context);
      const kept = new KeptDisks(files);
      const before = await kept.read(context);
      if (before !== undefined) {
        const domain = await domains.find(instance.uuid, context);
        if (domain) {
          await domains.stop(domain, context);
          await savedMemory.discard(domain, context);
        }
        await kept.restore(before, context);
        await power.define(instance, context);
        await kept.end(context);
      }
      if (powerOn) await power.on(instance, { signal: context.signal });
    });
  }

  #files({ uuid }: Instance): InstanceFiles {
    return new InstanceFiles(this.#host.instancesPath, uuid);
  }

  async #restingOrRunning(domain: NativeDomain, context: CallContext): Promise<'running' | 'shutdown'> {
    const info = await this.#host.domains.info(domain, context);
    const state = powerState(info.state, info.saved);
    if (state === 'crashed') return 'shutdown';
    if (state === 'running' || state === 'shutdown') return state;
    throw wrongState(context, state, state === 'paused' ? 'unpause it first' : 'resume it first');
  }

  /** All that can be refused, before anything is done. Returns the disks that it has, and what becomes of them. */
  async #checked(
    instance: Instance,
    flavor: Flavor,
    files: InstanceFiles,
    context: CallContext,
  ): Promise<{ readonly disks: InstanceDisks; readonly changes: readonly DiskChange[] }> {
    if (await files.readKept(context)) {
      throw new ComputeError(
        'INVALID_STATE',
        `${context.operation}: a resize of instance ${instance.uuid} is under way; confirm or revert it first`,
        context,
      );
    }
    await this.#assertDisk(files, context);
    const disks = await files.readDisks(context);
    if (!disks) throw noDisk(files, context);
    const changes = diskChanges(instance.uuid, disks, instance.flavor, flavor);
    const resized = { ...instance, flavor };
    const own = ownTargets(resized, this.#host.domainHost(resized, files));
    const hidden = instance.volumes?.find(({ device }) => own.has(device));
    if (hidden) {
      throw new ComputeError(
        'DEVICE_IN_USE',
        `${context.operation}: the flavor gives instance ${instance.uuid} a disk ${hidden.device}, which is a volume; detach it first`,
        { ...context, details: { device: hidden.device } },
      );
    }
    this.#host.definition(resized, files);
    return { disks, changes };
  }

  async #powerOff(domain: NativeDomain, options: PowerOffOptions, context: CallContext): Promise<void> {
    const { shutdownTimeoutMs: timeoutMs = 0, retryIntervalMs = RETRY_INTERVAL_MS } = options;
    const { domains } = this.#host;
    if (timeoutMs > 0 && (await domains.shutdown(domain, { timeoutMs, retryIntervalMs }, context))) return;
    await domains.stop(domain, context);
  }

  /** A guest that was asked to shut down may do so at any moment: it is stopped for certain first. */
  async #restart(instance: Instance, context: CallContext): Promise<void> {
    const { domains, power } = this.#host;
    const domain = await domains.find(instance.uuid, context);
    if (domain) await domains.stop(domain, context);
    await power.start(instance, context);
  }

  /** Of a swap or an ephemeral disk. */
  async #blankBase(
    name: DiskName,
    flavor: Flavor,
    { image }: Instance,
    { signal }: CallContext,
  ): Promise<BaseImage> {
    const { images } = this.#host;
    if (name === 'disk.swap') return await images.ensureSwapBase(flavor.swapMb, { signal });
    const osType = image.properties['os_type'];
    return await images.ensureEphemeralBase(flavor.ephemeralGb, osType, { signal });
  }

  async #change(
    instance: Instance,
    { name, how, sizeBytes }: DiskChange,
    before: InstanceDisks,
    context: CallContext,
  ): Promise<DiskInfo | undefined> {
    const { images } = this.#host;
    const { uuid, flavor } = instance;
    const files = this.#files(instance);
    const kept = new KeptDisks(files);
    const { signal } = context;
    const old = before[name];
    if (how === 'grow' && old) {
      const { format, base } = old;
      const layers = [{ path: kept.path(name), format }, ...(base ? [base] : [])] as const;
      await images.copyGrown(layers, kept.fresh(name), sizeBytes, { instanceUuid: uuid, signal });
      await kept.adopt(name, context);
      return { ...old, virtualSizeBytes: sizeBytes };
    }
    await kept.drop(name, context);
    if (how === 'drop') return undefined;
    const blank = await this.#blankBase(name, flavor, instance, context);
    // As the definition says of all of them, whatever the options are now.
    const options = { name, format: before.disk?.format, instanceUuid: uuid, signal };
    const disk = await images.createInstanceDisk(files.directory, blank, 0, options);
    return { format: disk.format, virtualSizeBytes: disk.virtualSizeBytes, base: disk.base };
  }

  async #assertDisk(files: InstanceFiles, context: CallContext): Promise<void> {
    if (!(await files.hasDisk(context))) throw noDisk(files, context);
  }

  async #notBegun(files: InstanceFiles, context: CallContext): Promise<ComputeError> {
    if (!(await files.hasDisk(context))) return noDisk(files, context);
    return new ComputeError(
      'INVALID_STATE',
      `${context.operation}: no resize of instance ${context.instanceUuid} was begun`,
      context,
    );
  }

  async #undo(undo: Undo, uuid: string): Promise<void> {
    for (const { name, error } of await undo.run()) {
      const fields = { uuid, step: name, error: String(error) };
      this.#host.logger.error('a failed resize could not be undone', fields);
    }
  }
}

function noDisk(files: InstanceFiles, context: CallContext): ComputeError {
  return new ComputeError(
    'INSTANCE_NOT_FOUND',
    `${context.operation}: instance ${context.instanceUuid} has no disk at ${files.disk()}`,
    context,
  );
}
