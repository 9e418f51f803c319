// swap_volume: the guest goes on with another volume that has all that the first one held, at a user's wish.
import { ComputeError } from '../../driver/errors.js';
import type { ComputeNode } from '../../node/compute-node.js';
import type { Conductor } from '../conductor.js';
import { type OutageOptions, outlast } from '../outage.js';
import { attachmentOf, connectionInfo, findMapping, saveMapping } from './volume-mappings.js';
import { isMigrating, notOf, type Owner, type Ready, type VolumeSteps } from './volume-steps.js';

export interface Swap {
  readonly fromId: string;
  readonly toId: string;
  /** Of the other volume; Nova's API has made it. */
  readonly attachmentId: string;
}

interface SwapContext extends OutageOptions {
  readonly node: ComputeNode;
  readonly conductor: Conductor;
  readonly steps: VolumeSteps;
  readonly owner: Owner;
}

/** Until the guest writes to the other one all is taken back where it fails; from then on there is no way but on. */
export async function swapVolume(context: SwapContext, swap: Swap, isRepeated: boolean): Promise<void> {
  const { steps, owner, conductor, signal } = context;
  const { fromId, toId, attachmentId } = swap;
  const mapping = await findMapping(conductor, owner.uuid, fromId, owner.call);
  // To tell Nova is the last step of all.
  if (!mapping && isRepeated) return;
  // A message that is not true ends no attachment.
  if (!mapping || fromId === toId) throw notOf(owner, fromId, 'swap_volume');
  if (!(await steps.isAttachmentOf(owner, toId, attachmentId))) throw notOf(owner, toId, 'swap_volume');
  let ready: Ready;
  try {
    await outlast(context, owner.uuid, () => steps.disk(owner, toId));
    await refuseMigration(context, fromId);
    const mountpoint = String(mapping.get('device_name'));
    ready = await steps.ready(owner, { volumeId: toId, attachmentId, mountpoint }, isRepeated);
    await copy(context, swap, ready, isRepeated);
  } catch (error) {
    if (!signal.aborted) await giveUpSwap(context, swap);
    throw error;
  }
  const { volume, attachment, connection } = ready;
  await steps.tried(owner, `the volume ${toId} is not told to be in use`, () => steps.complete(attachmentId));
  await steps.tried(owner, `the volume ${fromId} stays attached`, () =>
    steps.deleteAttachment(attachmentOf(mapping)),
  );
  const fields = {
    volume_id: toId,
    attachment_id: attachmentId,
    connection_info: connectionInfo(attachment, connection),
    volume_size: volume.size,
    source_type: 'volume',
    snapshot_id: null,
  };
  await saveMapping(conductor, mapping, fields, owner.call);
}

/** A guest that has the other one by now keeps both at Cinder: which of them it writes to, its user has to see. */
export async function giveUpSwap(context: SwapContext, { fromId, toId, attachmentId }: Swap): Promise<void> {
  const { steps, owner } = context;
  const unknown = `volume ${toId} may be in place of ${fromId} at ${owner.uuid}`;
  const isBack = await steps.tried(owner, unknown, async () => {
    if (await outlast(context, owner.uuid, () => steps.disk(owner, toId)))
      throw new Error('the guest has it');
    if (!(await steps.isAttachmentOf(owner, toId, attachmentId))) throw notOf(owner, toId, 'swap_volume');
  });
  if (!isBack) return;
  await steps.rollDetaching(owner, fromId);
  await steps.tried(owner, `the volume ${toId} stays reserved`, () => steps.deleteAttachment(attachmentId));
  await steps.failMigration(owner, fromId, toId);
}

/** A process that died may have made it. */
async function copy(
  { node, steps, owner, signal }: SwapContext,
  swap: Swap,
  ready: Ready,
  isRepeated: boolean,
): Promise<void> {
  const { connection, volume } = ready;
  if (!isRepeated || !(await steps.disk(owner, swap.toId))) {
    const before = await steps.disk(owner, swap.fromId);
    if (!before) throw notOf(owner, swap.fromId, 'swap_volume');
    await node.swapVolume(owner.uuid, before.connection, connection, { signal });
  }
  // It may be larger than the first, which the guest has not been shown.
  await steps.tried(owner, `the volume ${swap.toId} is shown with the size of the first`, () =>
    node.extendVolume(owner.uuid, connection, volume.size * 2 ** 30, { signal }),
  );
}

/** At its end the other one takes over the name of the first, in Cinder and in Nova. */
async function refuseMigration({ steps, owner }: SwapContext, volumeId: string): Promise<void> {
  if (!isMigrating(await steps.volume(volumeId))) return;
  throw new ComputeError(
    'UNSUPPORTED',
    `volume ${volumeId} is in use: its data are not moved by Cinder here`,
    {
      operation: 'swap_volume',
      instanceUuid: owner.uuid,
      details: { volumeId },
    },
  );
}
