// Rebuild: the same instance from another image. New disks are made while the old ones stand, then take their place.
import { configDriveImage } from '../config-drive/config-drive.js';
import type { CallOptions, RebuildOptions, SpawnResult, SpawnStep } from '../driver/compute-driver.js';
import { insist } from '../driver/insist.js';
import type { Instance } from '../driver/model.js';
import { Undo } from '../driver/undo.js';
import type { NativeDomain } from '../native.js';
import type { CallContext } from './hypervisor.js';
import { instanceCall, rescued, wrongState } from './instance-call.js';
import type { InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { ensureBases, makeDisks } from './make-disks.js';
import { RebuildFiles } from './rebuild-files.js';
import { type RescueHost, standing } from './rescue.js';
import type { SpawnHost } from './spawn.js';

export interface RebuildHost extends RescueHost, Pick<SpawnHost, 'info'> {}

/** The image may have to be downloaded. */
const REBUILD_TIMEOUT_MS = 600_000;
const SETTLE_TIMEOUT_MS = 120_000;
/** Undo has a time of its own: the call's may be over. */
const UNDO_TIMEOUT_MS = 60_000;

export async function rebuild(
  host: RebuildHost,
  instance: Instance,
  options: RebuildOptions,
): Promise<SpawnResult> {
  const { uuid } = instance;
  const timeoutMs = REBUILD_TIMEOUT_MS + (options.shutdownTimeoutMs ?? 0);
  return await instanceCall('rebuild', uuid, options, timeoutMs, async (context) => {
    const undo = new Undo();
    try {
      return await new Rebuild(host, instance, options, context, undo).run();
    } catch (error) {
      for (const { name, error: failure } of await undo.run()) {
        host.logger.error('a failed rebuild could not be undone', {
          uuid,
          step: name,
          error: String(failure),
        });
      }
      throw error;
    }
  });
}

class Rebuild {
  readonly #host: RebuildHost;
  readonly #instance: Instance;
  readonly #options: RebuildOptions;
  readonly #context: CallContext & { readonly signal: AbortSignal };
  readonly #undo: Undo;
  readonly #files: InstanceFiles;
  readonly #stepsMs: Record<SpawnStep, number> = { image: 0, definition: 0, network: 0, start: 0 };

  constructor(
    host: RebuildHost,
    instance: Instance,
    options: RebuildOptions,
    context: CallContext & { readonly signal: AbortSignal },
    undo: Undo,
  ) {
    this.#host = host;
    this.#instance = instance;
    this.#options = options;
    this.#context = context;
    this.#undo = undo;
    this.#files = new InstanceFiles(host.instancesPath, instance.uuid);
  }

  async run(): Promise<SpawnResult> {
    const { domains, power, definition, info } = this.#host;
    const { uuid } = this.#instance;
    // Before anything is made: what cannot be had costs no download.
    definition(this.#instance, this.#files);
    const old = await standing(this.#files, this.#context);
    if (old['disk.rescue']) throw rescued(this.#context);
    const domain = await domains.find(uuid, this.#context);
    const state = domain ? await power.state(domain, this.#context) : 'shutdown';
    if (state === 'paused') throw wrongState(this.#context, state, 'unpause it first');
    if (state === 'suspended') throw wrongState(this.#context, state, 'resume it first');
    const running = domain && state === 'running' ? domain : undefined;

    const imageCache = await this.#step('image', () => this.#prepare(old));
    if (running) await this.#halt(running);
    // Told of it, the caller knows that it goes on from here after a crash.
    await this.#options.onStep?.('definition');
    this.#context.signal.throwIfAborted();
    this.#undo.commit();
    const { signal: _late, ...settled } = this.#context;
    const built = await timed(this.#stepsMs, 'definition', () => adopt(this.#host, this.#instance, settled));
    if (running) {
      await this.#options.onStep?.('network');
      await timed(this.#stepsMs, 'network', () => power.plug(this.#instance, settled));
      await this.#options.onStep?.('start');
      await timed(this.#stepsMs, 'start', () => domains.start(built, settled));
    }
    return { stepsMs: this.#stepsMs, imageCache, info: await info(built, settled) };
  }

  async #step<T>(step: SpawnStep, work: () => Promise<T>): Promise<T> {
    await this.#options.onStep?.(step);
    this.#context.signal.throwIfAborted();
    return await timed(this.#stepsMs, step, work);
  }

  async #prepare(old: InstanceDisks): Promise<SpawnResult['imageCache']> {
    const { images } = this.#host;
    const { uuid, configDrive: format } = this.#instance;
    const { preserveEphemeral = false, onProgress, configDrive } = this.#options;
    const { signal } = this.#context;
    const sources = await ensureBases(images, this.#instance, { signal, onProgress });
    const prepared = new RebuildFiles(this.#files);
    await prepared.remove(this.#context);
    this.#undo.add('remove the new disks', () => prepared.remove(this.#undoContext()));
    const keptDisk = preserveEphemeral ? old['disk.local'] : undefined;
    const made = await makeDisks(
      images,
      this.#files.directory,
      sources.filter(({ name }) => keptDisk === undefined || name !== 'disk.local'),
      { instanceUuid: uuid, signal, suffix: '.rebuild' },
    );
    const standsDrive = await this.#files.hasConfigDrive(this.#context);
    if (format !== undefined && (configDrive !== undefined || !standsDrive)) {
      const image = configDriveImage(this.#instance, format, configDrive);
      await prepared.writeConfigDrive(image, this.#context);
    }
    const disks = keptDisk ? { ...made, 'disk.local': keptDisk } : made;
    // Throws before the guest is stopped, or never.
    this.#host.definition(this.#instance, this.#files, disks);
    await prepared.writeDisks(disks, this.#context);
    return sources[0].base.how;
  }

  async #halt(domain: NativeDomain): Promise<void> {
    const { domains, power } = this.#host;
    this.#undo.add('start it again', () =>
      insist(UNDO_TIMEOUT_MS, async () => {
        const context = this.#undoContext();
        const found = await domains.find(this.#instance.uuid, context);
        // Its own definition: nothing has touched that.
        if (found && (await power.state(found, context)) !== 'running') await domains.start(found, context);
      }),
    );
    await power.halt(domain, { timeoutMs: this.#options.shutdownTimeoutMs ?? 0 }, this.#context);
  }

  #undoContext(): CallContext {
    const instanceUuid = this.#instance.uuid;
    return { operation: 'undo of rebuild', instanceUuid, timeoutMs: UNDO_TIMEOUT_MS };
  }
}

export async function settleRebuild(
  host: RebuildHost,
  instance: Instance,
  outcome: 'old' | 'new',
  options: CallOptions,
): Promise<void> {
  const { uuid } = instance;
  await instanceCall('settleRebuild', uuid, options, SETTLE_TIMEOUT_MS, async (context) => {
    const files = new InstanceFiles(host.instancesPath, uuid);
    await standing(files, context);
    const prepared = new RebuildFiles(files);
    if (outcome === 'old') return await prepared.remove(context);
    if (await prepared.complete(context)) {
      const domain = await host.domains.find(uuid, context);
      if (domain) await host.domains.stop(domain, context);
    }
    await adopt(host, instance, context);
  });
}

/** The new files and the new definition in the place of the old ones. May run again from any point. */
async function adopt(host: RebuildHost, instance: Instance, context: CallContext): Promise<NativeDomain> {
  const files = new InstanceFiles(host.instancesPath, instance.uuid);
  await new RebuildFiles(files).adopt(context);
  const xml = host.definition(instance, files, await files.readDisks(context));
  await files.writeDefinition(xml, context);
  return await host.domains.define(xml, context);
}

async function timed<T>(
  stepsMs: Record<SpawnStep, number>,
  step: SpawnStep,
  work: () => Promise<T>,
): Promise<T> {
  const begin = performance.now();
  const result = await work();
  stepsMs[step] = performance.now() - begin;
  return result;
}
