// Rescue and rebuild of a fake instance: as the real ones, beside what stands until it is ready, and undone before that.
import type { RebuildOptions, RescueOptions, SpawnResult } from '../driver/compute-driver.js';
import type { ImageMeta, Instance } from '../driver/model.js';
import type { FakeCall } from './fake-call.js';
import { type FakeFiles, REBUILD } from './fake-files.js';
import type { FakeHypervisor } from './fake-hypervisor.js';
import type { FakeImageCache } from './fake-image-cache.js';

/** What these need of their driver. */
export interface FakeChanger {
  readonly hypervisor: FakeHypervisor;
  readonly files: FakeFiles;
  readonly images: FakeImageCache;
  readonly halt: (instance: Instance, timeoutMs: number, call: FakeCall) => Promise<void>;
  readonly boot: (instance: Instance) => void;
}

export const RESCUED = 'it is rescued; unrescue it first';

export async function rescueFake(
  changer: FakeChanger,
  instance: Instance,
  image: ImageMeta,
  options: RescueOptions,
  call: FakeCall,
): Promise<void> {
  const { hypervisor, files, images } = changer;
  const { uuid } = instance;
  const ran = runs(changer, uuid, call);
  await images.provide(image, call, ({ activity }) => options.onProgress?.({ step: 'image', activity }));
  try {
    await call.point('rescue.disk');
    await files.writeRescue(instance, image.id, options.configDrive);
    await call.point('rescue.stop');
    if (ran) await changer.halt(instance, options.shutdownTimeoutMs ?? 0, call);
    hypervisor.rescue(uuid, image.id);
    await call.point('rescue.start');
    changer.boot(instance);
  } catch (error) {
    await call.strike('rescue.undo');
    await restore(changer, instance, ran);
    throw error;
  }
}

/** The beginning of the call is the last point where its signal is heeded. */
export async function unrescueFake(
  changer: FakeChanger,
  instance: Instance,
  powerOn: boolean,
  call: FakeCall,
): Promise<void> {
  const { disks, rescued } = changer.hypervisor;
  if (!disks.has(instance.uuid)) throw call.notFound();
  await restore(changer, instance, rescued.has(instance.uuid) && powerOn);
}

export async function rebuildFake(
  changer: FakeChanger,
  instance: Instance,
  options: RebuildOptions,
  call: FakeCall,
): Promise<Omit<SpawnResult, 'info'>> {
  const { hypervisor, files, images } = changer;
  const { uuid } = instance;
  const { shutdownTimeoutMs = 0, preserveEphemeral = false, configDrive, onProgress, onStep } = options;
  const ran = runs(changer, uuid, call);
  const old = hypervisor.domains.get(uuid)?.instance;
  const stepsMs = { image: 0, definition: 0, network: 0, start: 0 };
  const begin = performance.now();
  await call.deadline.race(Promise.resolve(onStep?.('image')));
  const imageCache = await images.provide(instance.image, call, ({ activity }) =>
    onProgress?.({ step: 'image', activity }),
  );
  try {
    await call.point('rebuild.disk');
    await files.writeDisks(instance, REBUILD);
    if (preserveEphemeral) await files.remove(uuid, `disk.local${REBUILD}`);
    const drive = configDrive !== undefined || old?.configDrive === undefined;
    if (drive) await files.writeConfigDrive(instance, configDrive, REBUILD);
    stepsMs.image = performance.now() - begin;
    await call.point('rebuild.stop');
    if (ran) await changer.halt(instance, shutdownTimeoutMs, call);
    await onStep?.('definition');
    call.deadline.check();
  } catch (error) {
    await call.strike('rebuild.undo');
    await files.removeRebuild(uuid);
    if (ran && old && hypervisor.domains.get(uuid)?.state !== 'running') changer.boot(old);
    throw error;
  }
  await adopt(changer, instance);
  await call.strike('rebuild.start');
  if (ran) changer.boot(instance);
  return { stepsMs, imageCache };
}

export async function settleFakeRebuild(
  changer: FakeChanger,
  instance: Instance,
  outcome: 'old' | 'new',
  call: FakeCall,
): Promise<void> {
  if (!changer.hypervisor.disks.has(instance.uuid)) throw call.notFound();
  if (outcome === 'old') await changer.files.removeRebuild(instance.uuid);
  else await adopt(changer, instance);
}

async function adopt({ files, hypervisor }: FakeChanger, instance: Instance): Promise<void> {
  await files.adopt(instance.uuid);
  if (hypervisor.domains.has(instance.uuid)) hypervisor.redefine(instance);
  else hypervisor.define(instance);
}

/** Whether it does; throws where it cannot be changed. */
function runs({ hypervisor }: FakeChanger, uuid: string, call: FakeCall): boolean {
  if (!hypervisor.disks.has(uuid)) throw call.notFound();
  if (hypervisor.rescued.has(uuid)) throw call.invalidState(RESCUED);
  const state = hypervisor.domains.get(uuid)?.state;
  if (state === 'paused') throw call.invalidState('it is paused; unpause it first');
  if (state === 'suspended') throw call.invalidState('it is suspended; resume it first');
  return state === 'running';
}

/** Whatever there is of a rescue; may run again from any point. */
async function restore(
  { hypervisor, files, boot }: FakeChanger,
  instance: Instance,
  powerOn: boolean,
): Promise<void> {
  const { uuid } = instance;
  if (hypervisor.rescued.has(uuid)) {
    hypervisor.stop(uuid, 'destroyed');
    hypervisor.unrescue(uuid);
  }
  await files.removeRescue(uuid);
  if (powerOn && hypervisor.domains.get(uuid)?.state !== 'running') boot(instance);
}
