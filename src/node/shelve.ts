// Shelving: an instance put aside as an image, off the host where that is wanted, and taken up again.
import { randomUUID } from 'node:crypto';
import { ComputeError, unsupported } from '../driver/errors.js';
import type { ImageMeta, Instance } from '../driver/model.js';
import { parseSnapshotTarget } from '../driver/snapshot-schema.js';
import { type Change, shelf } from './change.js';
import { configDriveSchema } from './config-drive-request.js';
import type { KnownInstance } from './known-instance.js';
import { diskClaimGb, parseImage, parseRequest } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { operate, SHUTDOWN_MS } from './operation.js';
import { placed } from './placed.js';
import { removeFromHost } from './removal.js';
import { CHANGE_TIMEOUT_MS, checkChangeable } from './rescue.js';
import { changeInstance } from './settle-change.js';
import type { OperationOptions, ShelveOptions, UnshelveOptions } from './types.js';

export async function shelveInstance(
  context: NodeContext,
  uuid: string,
  options: ShelveOptions,
): Promise<ImageMeta> {
  const { shutdownTimeoutMs = SHUTDOWN_MS, offload = false } = options;
  const { driver } = context;
  const asked = options.image === undefined ? undefined : parseImage(options.image);
  if (!driver.capabilities.snapshot) throw unsupported(driver.name, 'shelve', uuid);
  const rules = { task: 'shelve', options, timeoutMs: CHANGE_TIMEOUT_MS + shutdownTimeoutMs };
  return await operate(context, uuid, rules, async (known, { signal }) => {
    const image = known.shelved?.image ?? asked ?? newImage(known.instance);
    if (!known.shelved) {
      const runs = await checkChangeable(context, known, 'shelve', signal);
      const change: Change = { kind: 'shelve', image, create: asked === undefined, runs };
      const target = parseSnapshotTarget(shelf(change), uuid);
      await changeInstance(context, known, change, async () => {
        if (runs) await driver.powerOff(uuid, { shutdownTimeoutMs, signal });
        await driver.snapshot(known.instance, target, { signal });
      });
    }
    if (offload) await takeOff(context, known);
    return image;
  });
}

export async function offloadInstance(
  context: NodeContext,
  uuid: string,
  options: OperationOptions,
): Promise<void> {
  const task = 'shelveOffload';
  await operate(context, uuid, { task, options }, async (known) => {
    if (known.shelved) return await takeOff(context, known);
    throw new ComputeError('INVALID_STATE', `${task}: instance ${uuid} is not shelved; shelve it first`, {
      operation: task,
      instanceUuid: uuid,
    });
  });
}

export async function unshelveInstance(
  context: NodeContext,
  uuid: string,
  options: UnshelveOptions,
): Promise<void> {
  const configDrive =
    options.configDrive && parseRequest(configDriveSchema, options.configDrive, 'unshelve').content;
  const { driver, tracker, launches } = context;
  const rules = { task: 'unshelve', options, timeoutMs: CHANGE_TIMEOUT_MS };
  await operate(context, uuid, rules, async (known, deadline) => {
    const { instance, shelved } = known;
    const { signal } = deadline;
    if (!shelved) return;
    if (!shelved.offloaded) {
      await changeInstance(context, known, { kind: 'unshelve', diskGb: known.diskGb }, () =>
        driver.powerOn(instance, { signal }),
      );
      return;
    }
    if (await driver.instanceExists(uuid, { signal })) throw foreign(uuid);
    const { flavor } = instance;
    const diskGb = diskClaimGb({ flavor, image: shelved.image });
    // Refused at once, not after a wait in line.
    const claim = tracker.claim(uuid, flavor, { diskGb, properties: shelved.image.properties });
    const { placement } = claim;
    const next = placed({ ...instance, image: shelved.image }, placement);
    try {
      const leave = await launches.enter(deadline);
      try {
        await changeInstance(context, known, { kind: 'unshelve', diskGb, placement }, async () => {
          await driver.spawn(next, { signal, configDrive, onProgress: options.onProgress });
        });
      } finally {
        leave();
      }
    } catch (error) {
      claim.release();
      throw error;
    }
  });
}

/** To its end, once it has begun. */
async function takeOff(context: NodeContext, known: KnownInstance): Promise<void> {
  if (known.shelved?.offloaded) return;
  await changeInstance(context, known, { kind: 'offload' }, () => removeFromHost(context, known));
  context.tracker.release(known.instance.uuid);
}

/** Before anything is journaled: what is undone of an unshelve is removed. */
function foreign(uuid: string): ComputeError {
  return new ComputeError(
    'INSTANCE_EXISTS',
    `unshelve: the hypervisor has a domain ${uuid} that this node did not make; remove it first`,
    { operation: 'unshelve', instanceUuid: uuid },
  );
}

function newImage({ image, displayName }: Instance): ImageMeta {
  return {
    id: randomUUID(),
    name: `${displayName}-shelved`.slice(-255),
    diskFormat: 'qcow2',
    source: { type: 'glance' },
    properties: image.properties,
  };
}
