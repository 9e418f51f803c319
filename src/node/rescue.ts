// Rescue of an instance of this node: booted from another disk until it is unrescued.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { imageSchema } from '../driver/image-schema.js';
import type { ImageMeta, PowerState } from '../driver/model.js';
import { closedObject } from '../driver/schema.js';
import { type ConfigDriveWish, configDriveSchema } from './config-drive-request.js';
import type { KnownInstance } from './known-instance.js';
import { parseRequest } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { operate, SHUTDOWN_MS } from './operation.js';
import { changeInstance } from './settle-change.js';
import type { OperationOptions, RescueNodeOptions } from './types.js';

/** The image may have to be downloaded. */
export const CHANGE_TIMEOUT_MS = 600_000;

interface ParsedRescue {
  readonly image?: ImageMeta;
  readonly configDrive?: ConfigDriveWish;
}

const requestSchema: v.GenericSchema<unknown, ParsedRescue> = closedObject({
  image: v.exactOptional(imageSchema),
  configDrive: v.exactOptional(configDriveSchema),
});

/** The rescue disk is not claimed, as in Nova: it is there for a while and takes what its guest writes. */
export async function rescueInstance(
  context: NodeContext,
  uuid: string,
  options: RescueNodeOptions,
): Promise<void> {
  const { shutdownTimeoutMs = SHUTDOWN_MS, onProgress } = options;
  const given = { image: options.image, configDrive: options.configDrive };
  const { image: asked, configDrive } = parseRequest(requestSchema, given, 'rescue');
  const rules = { task: 'rescue', options, timeoutMs: CHANGE_TIMEOUT_MS + shutdownTimeoutMs };
  await operate(context, uuid, rules, async (known, { signal }) => {
    const image = asked ?? known.instance.image;
    if (known.rescueImage) {
      if (asked === undefined || asked.id === known.rescueImage.id) return;
      throw rescuedWith(known, known.rescueImage);
    }
    checkFormat(known, configDrive);
    const runs = await checkChangeable(context, known, 'rescue', signal);
    await changeInstance(context, known, { kind: 'rescue', image, runs }, async () => {
      const drive = configDrive && { configDrive: configDrive.content };
      const call = { signal, shutdownTimeoutMs, onProgress, ...drive };
      await context.driver.rescue(known.instance, image, call);
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

function checkFormat({ instance }: KnownInstance, wish: ConfigDriveWish | undefined): void {
  const { uuid, configDrive: format } = instance;
  if (wish === undefined || wish.format === format) return;
  const reason = format === undefined ? 'has no config drive' : `has a config drive of format ${format}`;
  throw new ComputeError('INVALID_ARGUMENT', `rescue: instance ${uuid} ${reason}, not of ${wish.format}`, {
    operation: 'rescue',
    instanceUuid: uuid,
  });
}

function rescuedWith({ instance }: KnownInstance, { id }: ImageMeta): ComputeError {
  return new ComputeError(
    'INVALID_STATE',
    `rescue: instance ${instance.uuid} is rescued with image ${id}; unrescue it first`,
    { operation: 'rescue', instanceUuid: instance.uuid, details: { vmState: 'rescued', imageId: id } },
  );
}
