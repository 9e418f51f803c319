// What is done about a damaged base: it is marked for good, and moved away where no instance needs it.
import { callNative } from '../../native.js';
import type { Standing } from '../base-lookup.js';
import { type BaseRecord, writeRecord } from '../base-record.js';
import type { CacheContext } from './context.js';
import { listHolds } from './holds.js';
import { listQuarantine, quarantineBase, removeQuarantined } from './quarantine.js';

/** More are no use to whoever looks for the cause. */
const MOST_QUARANTINED = 3;

/**
 * Call it under the exclusive lock, with what stands there. Writes the mark, then moves the base away where nothing
 * stands on it; whatever finds a marked base later goes on from there. Gives whether the base is still in its place.
 */
export async function condemn(
  context: CacheContext,
  key: string,
  standing: Standing & { readonly record: BaseRecord },
): Promise<'in-use' | 'quarantined'> {
  const { paths, used, scrubbed, logger, telemetry } = context;
  const { imageId } = standing.record;
  const inUse = standing.stat.links > 1;
  if (standing.record.damagedAt === undefined) {
    const marked = { ...standing.record, damagedAt: new Date().toISOString() };
    await writeRecord(paths.record(key), marked).catch((error: unknown) => {
      // On a full file system; what nothing stands on can be moved all the same.
      if (inUse) throw error;
    });
    const instances = inUse ? await instancesOn(context, standing) : [];
    logger.error('a base is damaged: no new instance gets it', { imageId, path: paths.base(key), instances });
    telemetry.count('damaged');
    telemetry.publish({ kind: 'damaged', base: key, imageId, instances });
  }
  if (inUse) return 'in-use';
  const path = await quarantineBase(paths, key);
  await used.remove(key);
  await scrubbed.remove(key);
  logger.warn('moved a damaged base away', { imageId, path });
  telemetry.count('quarantines');
  telemetry.publish({ kind: 'quarantined', base: key, imageId, path });
  const there = await listQuarantine(paths);
  for (const entry of there.slice(0, Math.max(0, there.length - MOST_QUARANTINED))) {
    await removeQuarantined(entry);
  }
  return 'quarantined';
}

/** Directories of the instances that hold it. */
export async function instancesOn(
  context: CacheContext,
  { stat }: Pick<Standing, 'stat'>,
): Promise<string[]> {
  const holds = await listHolds(context.paths);
  return [...new Set(holds.filter(({ inode }) => inode === stat.inode).map(({ instance }) => instance))];
}

/** Call it under the exclusive lock: a scrub found the bytes that a marked base should have. */
export async function absolve(context: CacheContext, key: string, record: BaseRecord): Promise<void> {
  const { damagedAt, ...sound } = record;
  await writeRecord(context.paths.record(key), sound);
  context.logger.info('a base is sound after all', { path: context.paths.base(key), damagedAt });
}

/** Removes a base and what is known of it, under the exclusive lock. The base first: a record alone does no harm. */
export async function removeBase(context: CacheContext, key: string): Promise<void> {
  const { paths, used, scrubbed } = context;
  for (const path of [paths.base(key), paths.record(key)]) {
    await callNative((addon, id) => addon.removeTree(path, id), { operation: 'remove a base' });
  }
  await used.remove(key);
  await scrubbed.remove(key);
}
