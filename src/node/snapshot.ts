// A snapshot of an instance: recorded before it begins, so that a later process undoes what a dead one left of it.
import { randomUUID } from 'node:crypto';
import type { Instance } from '../driver/model.js';
import type { SnapshotResult, SnapshotTarget } from '../driver/snapshot.js';
import { parseSnapshotTarget } from '../driver/snapshot-schema.js';
import type { NodeContext } from './node-context.js';
import { reasonOf } from './node-errors.js';
import { operate } from './operation.js';
import type { SnapshotNodeOptions } from './types.js';

/** The upload included. */
const SNAPSHOT_TIMEOUT_MS = 3_600_000;
const SETTLE_TIMEOUT_MS = 60_000;

export async function snapshotInstance(
  context: NodeContext,
  uuid: string,
  wanted: SnapshotTarget,
  { format, compression, onProgress, ...options }: SnapshotNodeOptions,
): Promise<SnapshotResult> {
  const target = withId(parseSnapshotTarget(wanted, uuid));
  const rules = { task: 'snapshot', options, timeoutMs: SNAPSHOT_TIMEOUT_MS };
  return await operate(context, uuid, rules, async (known, { signal }) => {
    await known.journal.append({ event: 'snapshot', target });
    const timeoutMs = Number.POSITIVE_INFINITY;
    try {
      const call = { format, compression, onProgress, signal, timeoutMs };
      return await context.driver.snapshot(known.instance, target, call);
    } finally {
      // Also after a failure: the driver has undone it, and the caller was told.
      await known.journal.append({ event: 'snapshot-over' }).catch(() => undefined);
    }
  });
}

/** Of a record that does not exist yet the id is chosen here: who comes after a crash must know what to look for. */
function withId(target: SnapshotTarget): SnapshotTarget {
  if (target.type !== 'glance' || target.imageId !== undefined) return target;
  return { ...target, imageId: randomUUID(), create: true };
}

/** What became of it; where it is not done the next start tries again. */
export async function settleSnapshot(
  { driver }: Pick<NodeContext, 'driver'>,
  instance: Instance,
  target: SnapshotTarget,
): Promise<{ readonly done: boolean; readonly reason: string }> {
  try {
    await driver.undoSnapshot(instance, target, { timeoutMs: SETTLE_TIMEOUT_MS });
    return { done: true, reason: 'a snapshot was interrupted and is undone' };
  } catch (error) {
    const reason = `a snapshot was interrupted and could not be undone: ${reasonOf(error)}`;
    return { done: false, reason };
  }
}
