// The hard links by which instances hold their bases: `<uuid>/<disk>.base`, the same file as the base.
import { join } from 'node:path';
import { ComputeError } from '../../driver/errors.js';
import { callNative, type NativeDirectoryEntry } from '../../native.js';
import type { CachePaths } from '../cache-paths.js';
import { inParallel } from './in-parallel.js';

const HOLD_SUFFIX = '.base';
/** A link to the copy that takes a damaged base's place, until it takes the old link's. */
const FRESH_SUFFIX = '.base.fresh';
const ENOENT = 2;
const ENOTDIR = 20;

export interface Hold {
  /** Name of the instance's directory: its uuid. */
  readonly instance: string;
  readonly path: string;
  readonly inode: number;
}

export async function listHolds(paths: CachePaths): Promise<Hold[]> {
  return await listLinks(paths, HOLD_SUFFIX);
}

/** Of replacements that were cut short. */
export async function listFreshHolds(paths: CachePaths): Promise<Hold[]> {
  return await listLinks(paths, FRESH_SUFFIX);
}

/** Beside each hold a second one, on the file that is to take the base's place. Gives what it made; undone on failure. */
export async function linkFresh(holds: readonly Hold[], file: string): Promise<string[]> {
  const made: string[] = [];
  try {
    for (const hold of holds) {
      const path = freshOf(hold);
      await removeFresh([path]);
      try {
        await callNative((addon, id) => addon.linkFile(file, path, id), {
          operation: 'hold on a fresh base',
        });
        made.push(path);
      } catch (error) {
        // The instance was terminated meanwhile.
        if (!isMissing(error)) throw error;
      }
    }
  } catch (error) {
    await removeFresh(made);
    throw error;
  }
  return made;
}

/** Puts the second hold in the place of the first. */
export async function adoptFresh(fresh: string): Promise<void> {
  const hold = fresh.slice(0, -FRESH_SUFFIX.length) + HOLD_SUFFIX;
  try {
    await callNative((addon, id) => addon.publishFile(fresh, hold, false, id), { operation: 'swap a hold' });
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  // Renaming one link to another of the same file does nothing.
  await removeFresh([fresh]);
}

export async function removeFresh(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await callNative((addon, id) => addon.removeTree(path, id), { operation: 'remove a hold' });
  }
}

function freshOf({ path }: Hold): string {
  return path.slice(0, -HOLD_SUFFIX.length) + FRESH_SUFFIX;
}

async function listLinks(paths: CachePaths, suffix: string): Promise<Hold[]> {
  const directories = (await read(paths.instances)).filter(
    ({ name, type }) => type === 'directory' && join(paths.instances, name) !== paths.bases,
  );
  const found = await inParallel(directories, async ({ name: instance }) => {
    const directory = join(paths.instances, instance);
    return (await read(directory))
      .filter(({ name, type }) => type === 'file' && name.endsWith(suffix))
      .map(({ name, inode }): Hold => ({ instance, path: join(directory, name), inode }));
  });
  return found.flat();
}

/** Empty for a directory that has gone. */
async function read(path: string): Promise<NativeDirectoryEntry[]> {
  try {
    return await callNative((addon, id) => addon.readDirectory(path, 0, id), { operation: 'look for holds' });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return ComputeError.is(error) && (error.details['errno'] === ENOENT || error.details['errno'] === ENOTDIR);
}
