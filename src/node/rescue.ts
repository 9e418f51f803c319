// Rescue of an instance of this node: booted from another disk until it is unrescued.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta, PowerState } from '../driver/model.js';
import type { KnownInstance } from './known-instance.js';
import { parseImage } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { operate, SHUTDOWN_MS } from './operation.js';
import { changeInstance } from './settle-change.js';
import type { OperationOptions, RescueNodeOptions } from './types.js';

/** The image may have to be downloaded. */
export const CHANGE_TIMEOUT_MS = 600_000;

/** The rescue disk is not claimed, as in Nova: it is there for a while and takes what its guest writes. */
export async function rescueInstance(
  context: NodeContext,
  uuid: string,
  options: RescueNodeOptions,
): Promise<void> {
  const { shutdownTimeoutMs = SHUTDOWN_MS, onProgress } = options;
  const asked = options.image === undefined ? undefined : parseImage(options.image);
  const rules = { task: 'rescue', options, timeoutMs: CHANGE_TIMEOUT_MS + shutdownTimeoutMs };
  await operate(context, uuid, rules, async (known, { signal }) => {
    const image = asked ?? known.instance.image;
    if (known.rescueImage) {
      if (asked === undefined || asked.id === known.rescueImage.id) return;
      throw rescuedWith(known, known.rescueImage);
    }
    const runs = await checkChangeable(context, known, 'rescue', signal);
    await changeInstance(context, known, { kind: 'rescue', image, runs }, async () => {
      await context.driver.rescue(known.instance, image, { signal, shutdownTimeoutMs, onProgress });
    });
  });
}

export async function unrescueInstance(
  context: NodeContext,
  uuid: string,
  options: OperationOptions,
): Promise<void> {
  await operate(context, uuid, { task: 'unrescue', options }, async (known, { signal }) => {
    if (!known.rescueImage) return;
    await changeInstance(context, known, { kind: 'unrescue' }, async () => {
      await context.driver.unrescue(known.instance, { signal });
    });
  });
}

/** Whether it runs. Rejects with `INVALID_STATE` where it is paused or suspended; one that the hypervisor lost is stopped. */
export async function checkChangeable(
  { driver }: NodeContext,
  { instance }: KnownInstance,
  task: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { uuid } = instance;
  let state: PowerState = 'shutdown';
  try {
    state = (await driver.getInfo(uuid, { signal })).powerState;
  } catch (error) {
    if (!ComputeError.is(error) || error.code !== 'INSTANCE_NOT_FOUND') throw error;
  }
  if (state !== 'paused' && state !== 'suspended') return state === 'running';
  throw new ComputeError(
    'INVALID_STATE',
    `${task}: instance ${uuid} is ${state}; ${state === 'paused' ? 'unpause' : 'resume'} it first`,
    { operation: task, instanceUuid: uuid, details: { powerState: state } },
  );
}

function rescuedWith({ instance }: KnownInstance, { id }: ImageMeta): ComputeError {
  return new ComputeError(
    'INVALID_STATE',
    `rescue: instance ${instance.uuid} is rescued with image ${id}; unrescue it first`,
    { operation: 'rescue', instanceUuid: instance.uuid, details: { vmState: 'rescued', imageId: id } },
  );
}
