// The four steps of a fake launch, each with its undo, as a real driver does them.
import type { SpawnOptions, SpawnResult, SpawnStep } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance } from '../driver/model.js';
import { Undo } from '../driver/undo.js';
import type { FakeCall } from './fake-call.js';
import type { FakeFiles } from './fake-files.js';
import type { FakeHypervisor } from './fake-hypervisor.js';
import type { FakeImageCache } from './fake-image-cache.js';

/** What a spawn needs of its driver. */
export interface FakeSpawnContext {
  readonly hypervisor: FakeHypervisor;
  readonly files: FakeFiles;
  readonly images: FakeImageCache;
  readonly stepMs: Readonly<Partial<Record<SpawnStep, number>>>;
  readonly greeting: string;
}

type SpawnOutcome = Omit<SpawnResult, 'info'>;

/** Rejects with everything undone; when the undo itself fails, the error's details name what is left. */
export async function spawnFake(
  context: FakeSpawnContext,
  instance: Instance,
  options: SpawnOptions,
  call: FakeCall,
): Promise<SpawnOutcome> {
  const undo = new Undo();
  try {
    return await runSteps(context, instance, options, call, undo);
  } catch (error) {
    const failures = await undoSpawn(undo, call);
    if (failures.length === 0) throw error;
    throw withLeftovers(error, failures, call);
  }
}

async function runSteps(
  context: FakeSpawnContext,
  instance: Instance,
  options: SpawnOptions,
  call: FakeCall,
  undo: Undo,
): Promise<SpawnOutcome> {
  const { hypervisor, files } = context;
  const { uuid } = instance;
  const stepsMs = { image: 0, definition: 0, network: 0, start: 0 };
  let imageCache: SpawnResult['imageCache'] = 'hit';

  const effects: Record<SpawnStep, () => Promise<void>> = {
    image: async () => {
      imageCache = await context.images.provide(instance.image, call, ({ activity }) =>
        options.onProgress?.({ step: 'image', activity }),
      );
      undo.add('disk', async () => {
        hypervisor.removeDisk(uuid);
        await files.remove(uuid);
      });
      options.onProgress?.({ step: 'image', activity: 'overlay' });
      hypervisor.addDisk(uuid);
      await files.writeDisks(instance);
      await files.writeConfigDrive(instance, options.configDrive);
    },
    definition: async () => {
      undo.add('definition', () => hypervisor.undefine(uuid));
      await files.writeDefinition(uuid, instance.name);
      hypervisor.define(instance);
    },
    network: async () => {
      undo.add('network', () => hypervisor.removeTaps(uuid));
      hypervisor.addTaps(instance);
    },
    start: async () => {
      undo.add('start', () => hypervisor.stop(uuid, 'destroyed'));
      hypervisor.start(uuid, context.greeting);
      if (!options.beforeRun) return;
      hypervisor.pause(uuid);
      await call.deadline.race(options.beforeRun());
      hypervisor.unpause(uuid);
    },
  };

  for (const step of ['image', 'definition', 'network', 'start'] as const) {
    const begin = performance.now();
    await call.deadline.race(Promise.resolve(options.onStep?.(step)));
    await call.point(`spawn.${step}`);
    await call.wait(context.stepMs[step] ?? 0);
    await effects[step]();
    await call.point(`spawn.${step}.done`);
    stepsMs[step] = performance.now() - begin;
  }
  return { stepsMs, imageCache };
}

async function undoSpawn(undo: Undo, call: FakeCall): Promise<{ name: string; error: unknown }[]> {
  try {
    await call.strike('spawn.undo');
  } catch (error) {
    return [{ name: 'undo', error }];
  }
  return await undo.run();
}

function withLeftovers(
  error: unknown,
  failures: readonly { readonly name: string; readonly error: unknown }[],
  call: FakeCall,
): unknown {
  if (!ComputeError.is(error)) return error;
  return new ComputeError(error.code, `${error.message}; undoing it failed too`, {
    operation: call.operation,
    instanceUuid: call.instanceUuid,
    retryable: error.retryable,
    cause: error,
    details: { ...error.details, undoFailures: failures.map(({ name }) => name) },
  });
}
