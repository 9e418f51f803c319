// Start-up: what processes that were killed left half made is removed, or finished.
import { join } from 'node:path';
import { ComputeError } from '../../driver/errors.js';
import { callNative } from '../../native.js';
import { tryBaseLock } from '../cache-lock.js';
import { isBaseName, keyOfTemporary } from '../cache-paths.js';
import { removeTemporary } from '../temporaries.js';
import type { CacheContext } from './context.js';
import { adoptFresh, type Hold, listFreshHolds, removeFresh } from './holds.js';
import { TOGETHER } from './stamps.js';

/** A small file that was being written: `<name>.<random>.tmp`, beside the name it was to get. */
const HALF_WRITTEN = /^(.+?)(?:\.json)?\.[0-9a-f]{16}\.tmp$/;
const RECORD = /^(.+)\.json$/;

/** Gives the names of temporary files that it removed. Leaves alone what is locked: someone is at it. Rejects with ABORTED, SYSTEM. */
export async function recoverCache(
  context: CacheContext,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const { paths, logger } = context;
  const removed: string[] = [];
  // Before the temporary files, which some of them are links to.
  for (const fresh of await listFreshHolds(paths)) await settleFresh(context, fresh);
  for (const name of await list(paths.temporaries)) {
    check(signal);
    const key = keyOfTemporary(name);
    if (key === undefined) {
      logger.warn('a file in the image cache is none of ours', { path: join(paths.temporaries, name) });
      continue;
    }
    const gone = await ifFree(context, key, () => removeTemporary(join(paths.temporaries, name)));
    if (gone) removed.push(name);
  }
  for (const directory of [paths.bases, paths.pins, paths.used, paths.scrubbed]) {
    for (const name of await list(directory)) {
      check(signal);
      await sweep(context, directory, name);
    }
  }
  if (removed.length > 0) logger.info('removed what interrupted image fetches left', { removed });
  return removed;
}

/** A hold on what was to replace a damaged base: it goes on where the base has the new file, else it is undone. */
async function settleFresh(context: CacheContext, { path, inode }: Hold): Promise<void> {
  const { paths } = context;
  // Temporary files first: one that becomes a base in between is then found as either.
  const candidates = [
    ...(await list(paths.temporaries)).map(
      (name) => [keyOfTemporary(name), join(paths.temporaries, name)] as const,
    ),
    ...(await list(paths.bases)).map((name) => [name, join(paths.bases, name)] as const),
  ];
  for (const [key, file] of candidates) {
    if (key === undefined || !isBaseName(key) || (await inodeOf(file)) !== inode) continue;
    await ifFree(context, key, async () => {
      if ((await inodeOf(paths.base(key))) === inode) await adoptFresh(path);
      else await removeFresh([path]);
    });
    return;
  }
  await removeFresh([path]);
}

/** Records without their base, and small files that were never finished. */
async function sweep({ paths, ...context }: CacheContext, directory: string, name: string): Promise<void> {
  const path = join(directory, name);
  const half = HALF_WRITTEN.exec(name)?.[1];
  const key = half ?? (directory === paths.bases ? RECORD.exec(name)?.[1] : undefined);
  // The stamp of many bases has no lock: whoever writes it just now writes it again at its next pass.
  if (half === TOGETHER) await removeTemporary(path);
  if (key === undefined || !isBaseName(key)) return;
  await ifFree({ paths, ...context }, key, async () => {
    if (half !== undefined || (await inodeOf(paths.base(key))) === undefined) await removeTemporary(path);
  });
}

async function ifFree({ paths }: CacheContext, key: string, work: () => Promise<void>): Promise<boolean> {
  const lock = await tryBaseLock(paths.lock(key));
  if (!lock) return false;
  try {
    await work();
    return true;
  } finally {
    await lock.release(0);
  }
}

async function list(directory: string): Promise<string[]> {
  return await callNative((addon, id) => addon.listDirectory(directory, id), {
    operation: 'recover the image cache',
  });
}

async function inodeOf(path: string): Promise<number | undefined> {
  const stat = await callNative((addon, id) => addon.statFile(path, id), {
    operation: 'recover the image cache',
  });
  return stat?.inode;
}

function check(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new ComputeError('ABORTED', 'the recovery of the image cache was aborted', { cause: signal.reason });
}
