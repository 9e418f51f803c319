// A snapshot of an instance: recorded before it begins, so that a later process undoes what a dead one left of it.
import { randomUUID } from 'node:crypto';
import { type Instance, instanceName } from '../driver/model.js';
import type { SnapshotResult, SnapshotTarget } from '../driver/snapshot.js';
import { parseSnapshotTarget } from '../driver/snapshot-schema.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';
import { reasonOf } from './node-errors.js';
import { operate } from './operation.js';
import type { OperationOptions, SnapshotNodeOptions } from './types.js';

/** The upload included. */
const SNAPSHOT_TIMEOUT_MS = 3_600_000;
const SETTLE_TIMEOUT_MS = 60_000;

/** An instance of which nothing is left but an image record: only its uuid matters. */
const NOBODY: Omit<Instance, 'uuid'> = {
  id: 1,
  name: instanceName(1),
  displayName: '',
  flavor: { name: '', vcpus: 1, memoryMb: 1, rootGb: 0, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
  image: { id: '', diskFormat: 'raw', source: { type: 'glance' }, properties: {} },
  vifs: [],
  createdAt: new Date(0).toISOString(),
};

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

/** Whether there is such an instance or not. Behind what is under way on it, which may be the snapshot that fills the record. */
export async function discardSnapshot(
  { calls, driver, instances, locks }: NodeContext,
  uuid: string,
  imageId: string,
  { signal, timeoutMs = SNAPSHOT_TIMEOUT_MS, wait }: OperationOptions,
): Promise<void> {
  const operation = 'discardSnapshot';
  const target = parseSnapshotTarget({ type: 'glance', imageId, create: true }, uuid);
  await calls.run({ operation, instanceUuid: uuid, signal, timeoutMs }, async (deadline) => {
    const release = await locks.acquire(uuid, deadline, operation, wait);
    try {
      const instance = instances.get(uuid)?.instance ?? { ...NOBODY, uuid };
      await driver.undoSnapshot(instance, target, { signal: deadline.signal, timeoutMs: SETTLE_TIMEOUT_MS });
    } finally {
      release();
    }
  });
}

/** What became of it; where it stays in doubt the next start tries again. */
export async function settleSnapshot(
  { driver }: Pick<NodeContext, 'driver'>,
  { instance, journal }: KnownInstance,
  target: SnapshotTarget,
): Promise<string> {
  try {
    await driver.undoSnapshot(instance, target, { timeoutMs: SETTLE_TIMEOUT_MS });
    await journal.append({ event: 'snapshot-over' });
    return 'a snapshot was interrupted and is undone';
  } catch (error) {
    return `a snapshot was interrupted and could not be undone: ${reasonOf(error)}`;
  }
}
