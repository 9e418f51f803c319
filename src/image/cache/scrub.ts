// Reads bases again, slowly, and holds them against what they were: disks forget.
import { ComputeError } from '../../driver/errors.js';
import { callNative } from '../../native.js';
import { isDamaged } from '../base-lookup.js';
import { type BaseRecord, type ContentDigest, writeRecord } from '../base-record.js';
import { tryBaseLock, withBaseLock } from '../cache-lock.js';
import { isBaseName } from '../cache-paths.js';
import { takeDigest } from './content-digest.js';
import type { CacheContext } from './context.js';
import { absolve, condemn } from './damage.js';

/** Of bases whose bytes nobody hashed before: holes cost nothing. */
const OWN_ALGORITHM = 'sparse-sha256';
const EIO = 5;

export interface ScrubOptions {
  /** Default that of the cache. */
  readonly bytesPerSecond?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ScrubProgress) => void) | undefined;
}

export interface ScrubProgress {
  readonly base: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface ScrubResult {
  /** Name of the base in `_base`. */
  readonly base: string;
  readonly imageId: string | undefined;
  /**
   * `sound`: the bytes it always had. `damaged`: others, or unreadable. `recorded`: nobody had hashed it before, the next
   * scrub can tell. `unknown`: it has no record, the next launch inspects it. `gone`: removed or replaced meanwhile.
   */
  readonly verdict: 'sound' | 'damaged' | 'recorded' | 'unknown' | 'gone';
}

interface Finding {
  readonly inode: number;
  readonly value: string | undefined;
}

/** Rejects with ABORTED, SYSTEM. */
export async function scrubBase(
  context: CacheContext,
  key: string,
  options: ScrubOptions & { readonly ref: boolean },
): Promise<ScrubResult> {
  const { lookup, scrubbed, telemetry, ageing } = context;
  const begin = performance.now();
  const standing = await lookup.find(key);
  if (!standing) return { base: key, imageId: undefined, verdict: 'gone' };
  const { record, stat } = standing;
  if (!record) return { base: key, imageId: undefined, verdict: 'unknown' };
  const { imageId, content } = record;
  const finding = await read(context, key, content?.algorithm ?? OWN_ALGORITHM, {
    ...options,
    bytesPerSecond: options.bytesPerSecond ?? ageing.scrubBytesPerSecond,
    direct: true,
  });
  // Before the verdict, which may take the base away with its stamps.
  if (finding) await scrubbed.touch(key);
  const verdict = finding ? await conclude(context, key, finding, content, options.signal) : 'gone';
  if (verdict === 'sound' || verdict === 'damaged') {
    telemetry.count('scrubs');
    telemetry.count('scrubbedBytes', stat.sizeBytes);
    const milliseconds = performance.now() - begin;
    telemetry.publish({ kind: 'scrubbed', base: key, imageId, verdict, milliseconds });
  }
  return { base: key, imageId, verdict };
}

/** Takes the digest of a base that has just been made, from the page cache; nobody waits for it. */
export async function recordContent(context: CacheContext, key: string, signal: AbortSignal): Promise<void> {
  const standing = await context.lookup.find(key);
  if (!standing?.record || standing.record.content) return;
  const finding = await read(context, key, OWN_ALGORITHM, { direct: false, ref: false, signal });
  if (!finding) return;
  await context.scrubbed.touch(key);
  await conclude(context, key, finding, null, signal);
}

/** Names of bases whose last scrub is at least so long ago, those that waited longest first. */
export async function dueForScrub(context: CacheContext, intervalMs: number): Promise<string[]> {
  const { paths, scrubbed } = context;
  const names = await callNative((addon, id) => addon.listDirectory(paths.bases, id), {
    operation: 'list bases',
  });
  const ages = await scrubbed.ages();
  const due: { readonly key: string; readonly ageMs: number }[] = [];
  for (const key of names.filter(isBaseName)) {
    const age = ages.get(key);
    if (age && !age.lasting) await scrubbed.keep(key, age.ageMs);
    const ageMs = age?.ageMs ?? Number.POSITIVE_INFINITY;
    if (ageMs >= intervalMs) due.push({ key, ageMs });
  }
  return due.sort((a, b) => (a.ageMs === b.ageMs ? 0 : b.ageMs - a.ageMs)).map(({ key }) => key);
}

/** All that are due, one after another; nothing where another process on this directory is at it. */
export async function scrubDue(context: CacheContext, signal: AbortSignal): Promise<void> {
  const lock = await tryBaseLock(context.paths.lock('scrub'));
  if (!lock) return;
  try {
    for (const key of await dueForScrub(context, context.ageing.scrubIntervalMs)) {
      await scrubBase(context, key, { signal, ref: false }).catch((error: unknown) => {
        if (signal.aborted) throw error;
        // One that cannot be looked at must not keep the others from it.
        context.logger.warn('a base could not be scrubbed', { base: key, error: String(error) });
      });
    }
  } finally {
    await lock.release(0);
  }
}

/** undefined where there is no base any more. A disk that cannot read it gives no value. */
async function read(
  context: CacheContext,
  key: string,
  algorithm: ContentDigest['algorithm'],
  options: ScrubOptions & { readonly direct: boolean; readonly ref: boolean },
): Promise<Finding | undefined> {
  const path = context.paths.base(key);
  const { onProgress, ...rest } = options;
  const progress =
    onProgress &&
    ((doneBytes: number, totalBytes: number) => onProgress({ base: key, doneBytes, totalBytes }));
  const before = await callNative((addon, id) => addon.statFile(path, id), { operation: 'look at a base' });
  if (!before) return undefined;
  try {
    return await takeDigest(path, algorithm, { ...rest, ...(progress && { onProgress: progress }) });
  } catch (error) {
    if (!ComputeError.is(error)) throw error;
    if (error.details['errno'] === EIO || error.details['rule'] === 'truncated') {
      return { inode: before.inode, value: undefined };
    }
    if (error.details['errno'] === 2) return undefined;
    throw error;
  }
}

async function conclude(
  context: CacheContext,
  key: string,
  { inode, value }: Finding,
  content: ContentDigest | null,
  signal: AbortSignal | undefined,
): Promise<ScrubResult['verdict']> {
  const { paths, lookup } = context;
  return await withBaseLock(paths.lock(key), { shared: false, signal }, async () => {
    const standing = await lookup.find(key);
    if (!standing?.record || standing.stat.inode !== inode) return 'gone';
    const { stat, record } = standing;
    if (
      value === undefined ||
      (content ? value !== content.value : isDamaged(standing)) ||
      record.fileSizeBytes !== stat.sizeBytes
    ) {
      await condemn(context, key, { stat, record });
      return 'damaged';
    }
    if (!content) return await keepDigest(context, key, record, value);
    if (isDamaged(standing)) await absolve(context, key, record);
    return 'sound';
  });
}

async function keepDigest(
  context: CacheContext,
  key: string,
  record: BaseRecord,
  value: string,
): Promise<'recorded' | 'gone'> {
  if (record.content) return 'gone';
  const content = { algorithm: OWN_ALGORITHM, value } as const;
  await writeRecord(context.paths.record(key), { ...record, content });
  return 'recorded';
}
