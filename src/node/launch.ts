// The launch of one instance: claim, image, definition, start; undone as a whole when any of it fails.

import type { SpawnProgress, SpawnResult, SpawnStep } from '../driver/compute-driver.js';
import type { ConfigDriveContent } from '../driver/config-drive.js';
import type { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { type Instance, instanceName } from '../driver/model.js';
import { describeClaim } from '../resources/claims.js';
import { Journal } from './journal.js';
import { KnownInstance } from './known-instance.js';
import { checkFlavorHoldsImage, diskClaimGb, type ParsedLaunch } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { asComputeError, reasonOf } from './node-errors.js';
import { forget, removeFromHost } from './removal.js';
import type { Release } from './turns.js';
import type { LaunchOptions, LaunchResult, LaunchStep, StepTiming } from './types.js';

/** Ten minutes: the image may have to be downloaded. */
const LAUNCH_TIMEOUT_MS = 600_000;

const EEXIST = 17;

/** The driver's four steps as the log counts them: plugging the network belongs to the start. */
const LAUNCH_STEP: Readonly<Record<SpawnStep, LaunchStep>> = {
  image: 'image',
  definition: 'definition',
  network: 'start',
  start: 'start',
};

/**
 * Registers the instance before the first await, so that two launches of one uuid, or a terminate right behind the
 * launch, meet it.
 */
export async function launchInstance(
  context: NodeContext,
  { draft, configDrive }: ParsedLaunch,
  options: LaunchOptions,
): Promise<LaunchResult> {
  const { uuid } = draft;
  const rules = {
    operation: 'launch',
    instanceUuid: uuid,
    signal: options.signal,
    timeoutMs: options.timeoutMs ?? LAUNCH_TIMEOUT_MS,
  };
  return await context.calls.run(rules, async (deadline) => {
    const standing = context.instances.get(uuid);
    if (standing) throw instanceExists(uuid, standing);
    checkFlavorHoldsImage(uuid, draft.flavor, draft.image);
    const journal = new Journal(context.files, uuid);
    const known = new KnownInstance({ ...draft, id: 0, name: '' }, journal, 'launching', diskClaimGb(draft));
    known.task = 'launch';
    known.deadlines.add(deadline);
    context.instances.set(uuid, known);
    return await new Launch(context, known, deadline, options, configDrive).run();
  });
}

function instanceExists(uuid: string, standing: KnownInstance): ComputeError {
  const task = standing.task ? `, its ${standing.task} is under way` : '';
  return new ComputeError('INSTANCE_EXISTS', `instance ${uuid} exists on this node already${task}`, {
    operation: 'launch',
    instanceUuid: uuid,
    details: { phase: standing.phase },
  });
}

class Launch {
  readonly #context: NodeContext;
  readonly #known: KnownInstance;
  readonly #uuid: string;
  readonly #deadline: Deadline;
  readonly #options: LaunchOptions;
  readonly #configDrive: ConfigDriveContent | undefined;
  readonly #steps: StepTiming[] = [];
  readonly #begin = performance.now();
  #stepBegin = performance.now();
  #step: LaunchStep = 'claim';
  /** How far undoing has to go; raised before the effect. */
  #reached: 'claim' | 'journal' | 'spawn' = 'claim';

  constructor(
    context: NodeContext,
    known: KnownInstance,
    deadline: Deadline,
    options: LaunchOptions,
    configDrive: ConfigDriveContent | undefined,
  ) {
    this.#context = context;
    this.#known = known;
    this.#uuid = known.instance.uuid;
    this.#deadline = deadline;
    this.#options = options;
    this.#configDrive = configDrive;
  }

  async run(): Promise<LaunchResult> {
    const { locks, instances, log } = this.#context;
    try {
      // Refused at once, not after a wait in line.
      this.#claim();
    } catch (error) {
      instances.delete(this.#uuid);
      log.info(`launch of ${this.#uuid}: claim refused: ${reasonOf(error)}`, {
        instanceUuid: this.#uuid,
        step: 'claim',
        ...(ComputeError.is(error) && error.details),
      });
      throw error;
    }
    let release: Release | undefined;
    try {
      release = await locks.acquire(this.#uuid, this.#deadline, 'launch');
      return await this.#launch();
    } catch (error) {
      throw await this.#fail(this.#deadline.explain(error));
    } finally {
      this.#known.task = undefined;
      this.#known.deadlines.delete(this.#deadline);
      release?.();
    }
  }

  #claim(): void {
    const { tracker } = this.#context;
    const { flavor, image } = this.#known.instance;
    const { diskGb } = this.#known;
    const claim = tracker.claim(this.#uuid, flavor, { diskGb, properties: image.properties });
    const { placement } = claim;
    if (placement) this.#known.instance = { ...this.#known.instance, placement };
    this.#endStep(describeClaim(claim.record), { claim: claim.record });
  }

  async #launch(): Promise<LaunchResult> {
    const { launches, log } = this.#context;
    const leave = await launches.enter(this.#deadline);
    try {
      this.#stepBegin = performance.now();
      await this.#begun();
      const spawned = await this.#spawn();
      await this.#known.journal.append({ event: 'launched' });
      this.#known.phase = 'ready';
      this.#context.service.buildSucceeded();
      this.#context.publish({ type: 'launched', timestamp: Date.now(), uuid: this.#uuid });
      const totalMs = performance.now() - this.#begin;
      log.info(`instance ${this.#uuid} runs as ${this.#known.instance.name}`, {
        instanceUuid: this.#uuid,
        totalMs,
      });
      return this.#result(spawned, totalMs);
    } finally {
      leave();
    }
  }

  /** The number and the journal; from here on a later process knows of this launch. */
  async #begun(): Promise<void> {
    const { ids, files } = this.#context;
    const { journal, diskGb } = this.#known;
    const id = await ids.next();
    const instance: Instance = { ...this.#known.instance, id, name: instanceName(id) };
    this.#known.instance = instance;
    if (await files.exists(files.instanceDirectory(this.#uuid))) {
      throw this.#notOurs('its directory');
    }
    this.#deadline.check();
    try {
      // A write that fails leaves no file; one that stands was left alone by recovery and stays.
      await journal.begin(instance, diskGb);
    } catch (error) {
      if (!ComputeError.is(error) || error.details['errno'] !== EEXIST) throw error;
      throw this.#notOurs('a journal of it', error);
    }
    this.#reached = 'journal';
  }

  #notOurs(what: string, cause?: unknown): ComputeError {
    return new ComputeError(
      'INSTANCE_EXISTS',
      `instance ${this.#uuid}: ${what} stands in ${this.#context.files.instancesPath}, not made by this node, and is left alone`,
      { operation: 'launch', instanceUuid: this.#uuid, cause },
    );
  }

  async #spawn(): Promise<SpawnResult> {
    const { driver } = this.#context;
    const { instance, journal } = this.#known;
    this.#reached = 'spawn';
    try {
      const spawned = await driver.spawn(instance, {
        signal: this.#deadline.signal,
        onStep: async (step) => {
          await journal.append({ event: 'step', step });
          this.#enter(step);
        },
        onProgress: (progress) => this.#progress(progress),
        configDrive: this.#configDrive,
        beforeRun: this.#options.beforeRun,
      });
      this.#endStep(`image cache ${spawned.imageCache}`);
      this.#deadline.check();
      return spawned;
    } catch (error) {
      // Somebody else's domain, known to the hypervisor only: not ours to destroy.
      if (ComputeError.is(error) && error.code === 'INSTANCE_EXISTS') this.#reached = 'journal';
      throw error;
    }
  }

  #enter(spawnStep: SpawnStep): void {
    const step = LAUNCH_STEP[spawnStep];
    if (step === this.#step) return;
    if (this.#step !== 'claim') this.#endStep();
    this.#step = step;
    this.#stepBegin = performance.now();
  }

  #endStep(what?: string, fields?: Readonly<Record<string, unknown>>): void {
    const step = this.#step;
    const milliseconds = performance.now() - this.#stepBegin;
    this.#steps.push({ step, milliseconds });
    this.#context.log.info(`launch of ${this.#uuid}: ${step} done${what === undefined ? '' : `: ${what}`}`, {
      instanceUuid: this.#uuid,
      step,
      milliseconds,
      ...fields,
    });
    this.#context.publish({ type: 'step', timestamp: Date.now(), uuid: this.#uuid, step, milliseconds });
  }

  #progress(progress: SpawnProgress): void {
    try {
      this.#options.onProgress?.({ ...progress, step: LAUNCH_STEP[progress.step] });
    } catch (error) {
      this.#context.log.warn('onProgress threw', { instanceUuid: this.#uuid, error: reasonOf(error) });
    }
  }

  #result(spawned: SpawnResult, totalMs: number): LaunchResult {
    return {
      instance: { ...this.#known.view(spawned.info.powerState), task: undefined, taskSince: undefined },
      info: spawned.info,
      steps: this.#steps,
      totalMs,
      imageCache: spawned.imageCache,
    };
  }

  /** Undoes the launch; what cannot be undone stays known, claimed and journaled. Returns the error to reject with. */
  async #fail(reason: unknown): Promise<ComputeError> {
    const { log } = this.#context;
    const error = asComputeError(reason, 'launch', this.#uuid);
    log.warn(`launch of ${this.#uuid} failed in step ${this.#step} and is undone: ${reasonOf(error)}`, {
      instanceUuid: this.#uuid,
      step: this.#step,
      code: error.code,
    });
    this.#context.service.buildFailed(error.code);
    try {
      if (this.#reached === 'spawn') await removeFromHost(this.#context, this.#known);
      if (this.#reached !== 'claim') await this.#known.journal.remove();
    } catch (undoError) {
      return this.#broken(error, undoError);
    }
    forget(this.#context, this.#known);
    this.#publishFailure(error);
    return error;
  }

  #publishFailure({ code }: ComputeError): void {
    this.#context.publish({ type: 'launch-failed', timestamp: Date.now(), uuid: this.#uuid, code });
  }

  #broken(error: ComputeError, undoError: unknown): ComputeError {
    this.#known.phase = 'broken';
    this.#publishFailure(error);
    const undoFailure = reasonOf(undoError);
    this.#context.log.error(`launch of ${this.#uuid} could not be undone; terminate it`, {
      instanceUuid: this.#uuid,
      undoFailure,
    });
    return new ComputeError(
      error.code,
      `${error.message}; undoing the launch failed too, terminate the instance to try again`,
      {
        operation: 'launch',
        instanceUuid: this.#uuid,
        retryable: false,
        cause: error,
        details: { ...error.details, undoFailure },
      },
    );
  }
}
