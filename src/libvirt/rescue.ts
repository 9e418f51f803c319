// Rescue: an instance booted from another disk, with its own ones behind it; and the way back.
import { configDriveImage } from '../config-drive/config-drive.js';
import type { RescueOptions, UnrescueOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import { insist } from '../driver/insist.js';
import type { ImageMeta, Instance } from '../driver/model.js';
import type { ImageCache } from '../image/image-cache.js';
import type { ImageLogger } from '../image/types.js';
import type { CallContext } from './hypervisor.js';
import { instanceCall, rescued, wrongState } from './instance-call.js';
import type { DiskInfo, InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { makeDisks } from './make-disks.js';
import type { Power, PowerHost } from './power.js';
import { rescueTerms } from './xml/vocabulary/rescue-terms.js';

export interface RescueHost extends PowerHost {
  readonly images: ImageCache;
  readonly power: Power;
  readonly logger: ImageLogger;
}

/** The rescue image may have to be downloaded. */
const RESCUE_TIMEOUT_MS = 600_000;
const UNRESCUE_TIMEOUT_MS = 120_000;
/** Undo has a time of its own: the call's may be over. */
const UNDO_TIMEOUT_MS = 60_000;

/*
 * An instance is rescued where its disk.info names `disk.rescue`: written before the domain is defined so, and taken out
 * after the domain has stopped. Every definition is made of disk.info, so that it stays rescued over stop, start and
 * reboot. As in Nova the rescue disk is vda and takes the size of its image, and the instance's own disks follow; unlike
 * there the machine stays that of the instance's own image, and its volumes stay attached. An image with hw_rescue_device or
 * hw_rescue_bus has its disk last, with the instance's config drive beside it: Nova's stable device rescue.
 */
export class Rescue {
  readonly #host: RescueHost;

  constructor(host: RescueHost) {
    this.#host = host;
  }

  async rescue(instance: Instance, image: ImageMeta, options: RescueOptions): Promise<void> {
    const { shutdownTimeoutMs = 0, onProgress } = options;
    const { uuid, configDrive: format } = instance;
    const { device, bus, isLast } = rescueTerms(image);
    const content = isLast ? undefined : options.configDrive;
    const timeoutMs = RESCUE_TIMEOUT_MS + shutdownTimeoutMs;
    await instanceCall('rescue', uuid, options, timeoutMs, async (context) => {
      const { images, power, domains, logger } = this.#host;
      const files = this.#files(uuid);
      const disks = await standing(files, context);
      if (disks['disk.rescue']) throw rescued(context);
      const domain = await domains.find(uuid, context);
      const state = domain ? await power.state(domain, context) : 'shutdown';
      if (state === 'paused') throw wrongState(context, state, 'unpause it first');
      if (state === 'suspended') throw wrongState(context, state, 'resume it first');
      const base = await images.ensureBase(image, {
        flavorRootBytes: 0,
        signal: context.signal,
        onProgress: (progress) => onProgress?.({ step: 'image', ...progress }),
      });
      try {
        await files.removeRescue(context);
        const sources = [{ name: 'disk.rescue', base, sizeBytes: 0 }] as const;
        const { signal } = context;
        const made = await makeDisks(images, files.directory, sources, { instanceUuid: uuid, signal });
        const disk: DiskInfo | undefined = made['disk.rescue'] && {
          ...made['disk.rescue'],
          ...(device === 'cdrom' && { device }),
          ...(bus && { bus }),
          ...(isLast && { order: 'last' }),
          ...(format && content && { configDrive: true }),
        };
        if (format && content) {
          const drive = configDriveImage(instance, format, content);
          await files.writeConfigDrive(drive, context, files.rescueConfigDrive);
        }
        const own = await files.readDefinition(files.definition, context);
        await files.keepDefinition(own ?? this.#host.definition(instance, files, disks), context);
        const all = { ...disks, 'disk.rescue': disk };
        this.#host.definition(instance, files, all);
        if (domain && state === 'running') {
          await power.halt(domain, { timeoutMs: shutdownTimeoutMs }, context);
        }
        await files.writeDisks(all, context);
        await power.start(instance, context);
      } catch (error) {
        await this.#undo(instance, state === 'running').catch((failure: unknown) => {
          logger.error('a failed rescue could not be undone', { uuid, error: String(failure) });
        });
        throw error;
      }
    });
  }

  async unrescue(instance: Instance, options: UnrescueOptions): Promise<void> {
    const { powerOn = true } = options;
    await instanceCall('unrescue', instance.uuid, options, UNRESCUE_TIMEOUT_MS, async (context) => {
      const disks = await standing(this.#files(instance.uuid), context);
      if (context.signal.aborted) throw context.signal.reason;
      const { signal: _late, ...settled } = context;
      await this.#restore(instance, disks['disk.rescue'] !== undefined && powerOn, settled);
    });
  }

  async #undo(instance: Instance, ran: boolean): Promise<void> {
    const context = { operation: 'undo of rescue', instanceUuid: instance.uuid, timeoutMs: UNDO_TIMEOUT_MS };
    await insist(UNDO_TIMEOUT_MS, () => this.#restore(instance, ran, context));
  }

  /** Whatever there is of a rescue. May run again from any point. */
  async #restore(instance: Instance, powerOn: boolean, context: CallContext): Promise<void> {
    const { uuid } = instance;
    const { domains, savedMemory, definition, power } = this.#host;
    const files = this.#files(uuid);
    const { 'disk.rescue': rescue, ...own } = await standing(files, context);
    let domain = await domains.find(uuid, context);
    if (rescue) {
      if (domain) {
        await domains.stop(domain, context);
        await savedMemory.discard(domain, context);
      }
      const kept = await files.readDefinition(files.unrescue, context);
      const xml = kept ?? definition(instance, files, own);
      await files.writeDefinition(xml, context);
      domain = await domains.define(xml, context);
      await files.writeDisks(own, context);
    }
    await files.removeRescue(context);
    if (!powerOn) return;
    if (!domain) return await power.start(instance, context);
    if ((await power.state(domain, context)) === 'running') return;
    await power.plug(instance, context);
    await domains.start(domain, context);
  }

  #files(uuid: string): InstanceFiles {
    return new InstanceFiles(this.#host.instancesPath, uuid);
  }
}

/** Rejects with `INSTANCE_NOT_FOUND` where there is no disk of ours. */
export async function standing(files: InstanceFiles, context: CallContext): Promise<InstanceDisks> {
  const disks = (await files.hasDisk(context)) ? await files.readDisks(context) : undefined;
  if (disks) return disks;
  const { operation, instanceUuid } = context;
  throw new ComputeError(
    'INSTANCE_NOT_FOUND',
    `${operation}: instance ${instanceUuid} has no disk at ${files.disk()}`,
    { operation, instanceUuid },
  );
}
