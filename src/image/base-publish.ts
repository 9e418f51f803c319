// How a finished file becomes a base: the first of its name, or a sound copy in the place of a damaged one.
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
import { type BaseRecord, type ContentDigest, writeRecord } from './base-record.js';
import { takeDigest } from './cache/content-digest.js';
import { adoptFresh, linkFresh, listHolds, removeFresh } from './cache/holds.js';
import type { CachePaths } from './cache-paths.js';
import { removeTemporary } from './temporaries.js';
import type { ImageLogger } from './types.js';

interface Finished {
  readonly key: string;
  /** Complete, synced, with its final mode. */
  readonly file: string;
  readonly record: BaseRecord;
}

/** First the record, then the name: a base under its final name is complete and described. */
export async function publishBase(paths: CachePaths, { key, file, record }: Finished): Promise<void> {
  await writeRecord(paths.record(key), record);
  try {
    await rename(paths, key, file);
  } catch (error) {
    await removeTemporary(paths.record(key));
    throw error;
  }
}

/**
 * Instances stand on the base: what takes its place must be its very bytes, and their holds move along. Those that run
 * keep the old file open; they see the new one at their next start. Each hold gets a second link, on the new file,
 * before that gets its name: it counts as in use from its first moment. Rejects with `IMAGE_UNACCEPTABLE`, rule
 * `base-damaged`, where the bytes differ.
 */
export async function replaceBase(
  context: { readonly paths: CachePaths; readonly logger: ImageLogger },
  { key, file, record }: Finished,
  damaged: BaseRecord,
  signal: AbortSignal,
): Promise<BaseRecord> {
  const { paths, logger } = context;
  const content = await assertSameContent(paths.base(key), file, record, damaged, signal);
  const old = await callNative((addon, id) => addon.statFile(paths.base(key), id), {
    operation: 'look at a damaged base',
  });
  const holds = (await listHolds(paths)).filter(({ inode }) => inode === old?.inode);
  const fresh = await linkFresh(holds, file);
  try {
    await rename(paths, key, file);
  } catch (error) {
    await removeFresh(fresh);
    throw error;
  }
  for (const link of fresh) {
    // It holds the base under either name; the next start-up finishes what fails here.
    await adoptFresh(link).catch((error: unknown) => {
      logger.error('a hold on a base could not be moved', { path: link, error: String(error) });
    });
  }
  // Last: where this is cut short, a sound base is still said to be damaged, never the other way round.
  const healed = { ...record, content };
  await writeRecord(paths.record(key), healed);
  return healed;
}

async function assertSameContent(
  path: string,
  file: string,
  record: BaseRecord,
  { content: expected }: BaseRecord,
  signal: AbortSignal,
): Promise<ContentDigest> {
  if (!expected) throw new Error('a base without a known digest cannot be replaced');
  const value =
    record.content?.algorithm === expected.algorithm
      ? record.content.value
      : (await takeDigest(file, expected.algorithm, { direct: false, signal })).value;
  if (value === expected.value) return expected;
  throw new ComputeError(
    'IMAGE_UNACCEPTABLE',
    `the base ${path} is damaged, instances stand on it, and its source now gives other content: terminate them, or launch other content under another image id`,
    { details: { rule: 'base-damaged', path, expected: expected.value, actual: value } },
  );
}

async function rename(paths: CachePaths, key: string, file: string): Promise<void> {
  await callNative((addon, id) => addon.publishFile(file, paths.base(key), true, id), {
    operation: `publication of ${paths.base(key)}`,
  });
}
