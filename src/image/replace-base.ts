// A sound copy in the place of a damaged base that instances stand on. Runs under the base's exclusive lock.
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
import { type BaseRecord, type ContentDigest, writeRecord } from './base-record.js';
import { takeDigest } from './cache/content-digest.js';
import { adoptFresh, linkFresh, listHolds, removeFresh } from './cache/holds.js';
import type { CachePaths } from './cache-paths.js';
import { BASE_MODE } from './publish-base.js';
import type { ImageLogger } from './types.js';

/**
 * Instances stand on the base: what takes its place must be its very bytes, and their holds move along. Those that run
 * keep the old file open; they see the new one at their next start. Each hold gets a second link, on the new file,
 * before that gets its name: it counts as in use from its first moment. Rejects with `IMAGE_UNACCEPTABLE`, rule
 * `base-damaged`, where the bytes differ.
 */
export async function replaceBase(
  context: { readonly paths: CachePaths; readonly logger: ImageLogger },
  key: string,
  file: string,
  record: BaseRecord,
  damaged: BaseRecord,
  signal: AbortSignal,
): Promise<BaseRecord> {
  const { paths, logger } = context;
  const operation = `replacement of ${paths.base(key)}`;
  const content = await assertSameContent(paths.base(key), file, record, damaged, signal);
  await callNative((addon, id) => addon.sealFile(file, record.fileSizeBytes, BASE_MODE, id), {
    operation,
    signal,
    waitOnAbort: true,
  });
  const old = await callNative((addon, id) => addon.statFile(paths.base(key), id), {
    operation,
  });
  const holds = (await listHolds(paths)).filter(({ inode }) => inode === old?.inode);
  const fresh = await linkFresh(holds, file);
  try {
    await callNative((addon, id) => addon.publishFile(file, paths.base(key), true, id), { operation });
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
