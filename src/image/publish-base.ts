// The last steps of a base: proved, described, and only then named. Runs under the base's exclusive lock.
import { callNative } from '../native.js';
import { type BaseRecord, writeRecord } from './base-record.js';
import type { CachePaths } from './cache-paths.js';
import { removeTemporary } from './temporaries.js';

/** Readable by the unprivileged QEMU user whatever relabelling is set; the temporary files before it are 0600. */
export const BASE_MODE = 0o644;

/**
 * Gives the finished file the name of its base. First the record, then the name: a base under its final name is complete
 * and described. Rejects with IMAGE_UNACCEPTABLE (`truncated`: the file has another length than its record), NO_SPACE,
 * SYSTEM, ABORTED; no record without a base is then left.
 */
export async function publishBase(
  paths: CachePaths,
  key: string,
  file: string,
  record: BaseRecord,
  signal: AbortSignal | undefined,
): Promise<void> {
  const operation = `publication of the base of ${record.imageId}`;
  await callNative((addon, id) => addon.sealFile(file, record.fileSizeBytes, BASE_MODE, id), {
    operation,
    signal,
    waitOnAbort: true,
  });
  await writeRecord(paths.record(key), record);
  try {
    await callNative((addon, id) => addon.publishFile(file, paths.base(key), true, id), { operation });
  } catch (error) {
    await removeTemporary(paths.record(key));
    throw error;
  }
}
