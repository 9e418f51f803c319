// Steps 2 to 4 of a launch: image file, definition, network and start; each undone when a later one fails.

import { configDriveImage } from '../config-drive/config-drive.js';
import type { SpawnOptions, SpawnResult, SpawnStep } from '../driver/compute-driver.js';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance, InstanceInfo } from '../driver/model.js';
import { Undo } from '../driver/undo.js';
import type { ImageCache } from '../image/image-cache.js';
import type { BaseImage, ImageLogger } from '../image/types.js';
import type { NativeDomain } from '../native.js';
import type { Bridges } from '../network/bridges.js';
import { plug, unplug } from '../network/plug.js';
import type { Domains } from './domains.js';
import type { QemuUser } from './host-probe.js';
import type { CallContext } from './hypervisor.js';
import type { InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { ensureBases, makeDisks } from './make-disks.js';
import type { NetworkFilters } from './network-filters.js';

/** What a launch needs of the driver. */
export interface SpawnHost {
  readonly instancesPath: string;
  readonly images: ImageCache;
  readonly bridges: Bridges;
  readonly filters: NetworkFilters;
  readonly domains: Domains;
  readonly user: QemuUser | undefined;
  readonly logger: ImageLogger;
  /** The document of that instance; throws what is wrong with its flavor or image, also before there are disks. */
  readonly definition: (instance: Instance, files: InstanceFiles, disks?: InstanceDisks) => string;
  readonly info: (domain: NativeDomain, context: CallContext) => Promise<InstanceInfo>;
}

/** Ten minutes: the image may have to be downloaded. */
const SPAWN_TIMEOUT_MS = 600_000;
/** Undo has a time of its own: the launch's may be over. */
const UNDO_TIMEOUT_MS = 60_000;

export async function spawn(
  host: SpawnHost,
  instance: Instance,
  options: SpawnOptions,
): Promise<SpawnResult> {
  const { uuid } = instance;
  using deadline = new Deadline({
    operation: 'spawn',
    instanceUuid: uuid,
    timeoutMs: SPAWN_TIMEOUT_MS,
    ...options,
  });
  const launch = new Launch(host, instance, options, deadline);
  try {
    return await launch.run();
  } catch (error) {
    await launch.undo();
    throw deadline.explain(error);
  }
}

class Launch {
  readonly #host: SpawnHost;
  readonly #instance: Instance;
  readonly #options: SpawnOptions;
  readonly #deadline: Deadline;
  readonly #files: InstanceFiles;
  readonly #context: CallContext;
  readonly #undo = new Undo();
  readonly #stepsMs: Record<SpawnStep, number> = { image: 0, definition: 0, network: 0, start: 0 };

  constructor(host: SpawnHost, instance: Instance, options: SpawnOptions, deadline: Deadline) {
    this.#host = host;
    this.#instance = instance;
    this.#options = options;
    this.#deadline = deadline;
    this.#files = new InstanceFiles(host.instancesPath, instance.uuid);
    this.#context = { operation: 'spawn', instanceUuid: instance.uuid, signal: deadline.signal };
  }

  async run(): Promise<SpawnResult> {
    const { domains, filters } = this.#host;
    this.#deadline.check();
    // Before anything is made: a flavor that cannot be had costs no download.
    this.#host.definition(this.#instance, this.#files);
    await filters.check(this.#instance.vifs, this.#context);
    if (await domains.find(this.#instance.uuid, this.#context)) {
      throw new ComputeError(
        'INSTANCE_EXISTS',
        `instance ${this.#instance.uuid} exists already`,
        this.#context,
      );
    }
    const { disks, imageCache } = await this.#step('image', () => this.#makeDisks());
    const xml = await this.#step('definition', () => this.#define(disks));
    await this.#step('network', () => this.#plug());
    const domain = await this.#step('start', () => this.#start(xml));
    const info = await this.#host.info(domain, this.#context);
    this.#undo.commit();
    return { stepsMs: this.#stepsMs, imageCache, info };
  }

  async undo(): Promise<void> {
    for (const { name, error } of await this.#undo.run()) {
      const { uuid } = this.#instance;
      this.#host.logger.error('a failed launch could not be undone', {
        uuid,
        step: name,
        error: String(error),
      });
    }
  }

  async #step<T>(step: SpawnStep, work: () => Promise<T>): Promise<T> {
    await this.#deadline.race(Promise.resolve(this.#options.onStep?.(step)));
    const begin = performance.now();
    const result = await work();
    this.#stepsMs[step] = performance.now() - begin;
    return result;
  }

  async #makeDisks(): Promise<{ disks: InstanceDisks; imageCache: BaseImage['how'] }> {
    const { images, user } = this.#host;
    const { uuid } = this.#instance;
    const { signal } = this.#deadline;
    const bases = await ensureBases(images, this.#instance, { signal, onProgress: this.#options.onProgress });
    if (await this.#files.exist(this.#context)) {
      throw new ComputeError(
        'INSTANCE_EXISTS',
        `${this.#files.directory} stands already: it is no file of this launch and is left alone`,
        this.#context,
      );
    }
    this.#undo.add('remove the instance directory', () =>
      this.#files.remove({ operation: 'undo of spawn', instanceUuid: uuid, timeoutMs: UNDO_TIMEOUT_MS }),
    );
    await this.#files.makeDirectory(this.#context);
    const disks = await makeDisks(images, this.#files.directory, bases, { instanceUuid: uuid, signal });
    await this.#makeConfigDrive();
    await Promise.all([
      this.#files.writeDisks(disks, this.#context),
      this.#files.makeConsoleLog(user, this.#context),
    ]);
    return { disks, imageCache: bases[0].base.how };
  }

  async #makeConfigDrive(): Promise<void> {
    const { configDrive } = this.#instance;
    if (configDrive === undefined) return;
    const image = configDriveImage(this.#instance, configDrive, this.#options.configDrive);
    await this.#files.writeConfigDrive(image, this.#context);
  }

  async #define(disks: InstanceDisks): Promise<string> {
    const xml = this.#host.definition(this.#instance, this.#files, disks);
    await this.#files.writeDefinition(xml, this.#context);
    return xml;
  }

  async #plug(): Promise<void> {
    const { bridges } = this.#host;
    for (const vif of this.#instance.vifs) {
      this.#undo.add(`release the bridge ${vif.bridge}`, () => unplug(bridges, vif));
      await plug(bridges, vif, this.#deadline.signal);
    }
  }

  async #start(xml: string): Promise<NativeDomain> {
    const { domains } = this.#host;
    const { uuid } = this.#instance;
    const { beforeRun } = this.#options;
    // libvirt makes the tap and removes it with QEMU: removing the domain unplugs it.
    this.#undo.add('remove the domain', () =>
      domains.remove(uuid, { operation: 'undo of spawn', instanceUuid: uuid, timeoutMs: UNDO_TIMEOUT_MS }),
    );
    const domain = await domains.define(xml, this.#context);
    await domains.start(domain, this.#context, beforeRun !== undefined);
    if (beforeRun) {
      await this.#deadline.race(beforeRun());
      await domains.resume(domain, this.#context);
    }
    return domain;
  }
}
