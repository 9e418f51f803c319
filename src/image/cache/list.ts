// What is in the cache, for people and programs.
import { callNative } from '../../native.js';
import { isDamaged } from '../base-lookup.js';
import { isBaseName } from '../cache-paths.js';
import type { CacheContext } from './context.js';
import { listHolds } from './holds.js';
import { inParallel } from './in-parallel.js';
import { pinnedKeys } from './pins.js';

export interface CachedImage {
  /** Name of the base in `_base`. */
  readonly base: string;
  /** These are undefined where the base has no record that can be read. */
  readonly imageId: string | undefined;
  readonly source: string | undefined;
  /** ISO 8601, UTC. */
  readonly createdAt: string | undefined;
  readonly sizeBytes: number;
  /** That it takes on the disk. */
  readonly allocatedBytes: number;
  /** Links beside its own name. */
  readonly users: number;
  /** Directories of the instances that hold it: their uuids. */
  readonly instances: readonly string[];
  /** Milliseconds since its last use; 0 in use. */
  readonly ageMs: number;
  /** ISO 8601, UTC: now less the age. */
  readonly lastUsedAt: string;
  readonly pinned: boolean;
  /** `sound` until a scrub or its length says otherwise; `unhashed`: no scrub can tell yet; `unknown`: no record. */
  readonly verdict: 'sound' | 'unhashed' | 'damaged' | 'unknown';
}

/** The most recently used first. */
export async function listCache(context: CacheContext): Promise<CachedImage[]> {
  const { paths, lookup, used } = context;
  const names = await callNative((addon, id) => addon.listDirectory(paths.bases, id), {
    operation: 'list bases',
  });
  const [holds, pinned, ages] = [await listHolds(paths), await pinnedKeys(paths), await used.ages()];
  const images = await inParallel(names.filter(isBaseName), async (key): Promise<CachedImage | undefined> => {
    const standing = await lookup.find(key);
    if (!standing) return undefined;
    const { stat, record } = standing;
    const instances = holds.filter(({ inode }) => inode === stat.inode).map(({ instance }) => instance);
    const ageMs = stat.links > 1 ? 0 : (ages.get(key)?.ageMs ?? 0);
    return {
      base: key,
      imageId: record?.imageId,
      source: record?.source,
      createdAt: record?.createdAt,
      sizeBytes: stat.sizeBytes,
      allocatedBytes: stat.allocatedBytes,
      users: stat.links - 1,
      instances: [...new Set(instances)],
      ageMs,
      lastUsedAt: new Date(Date.now() - ageMs).toISOString(),
      pinned: pinned.has(key),
      verdict: !record ? 'unknown' : isDamaged(standing) ? 'damaged' : record.content ? 'sound' : 'unhashed',
    };
  });
  return images.filter((one) => one !== undefined).sort((a, b) => a.ageMs - b.ageMs);
}
