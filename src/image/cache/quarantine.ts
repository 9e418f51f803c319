// Where damaged bases go that no instance needs: out of the way of launches, kept for a look at what happened.
import { join } from 'node:path';
import { callNative } from '../../native.js';
import type { CachePaths } from '../cache-paths.js';

/** `<key>.<milliseconds since 1970>`, its record beside it as `.json`. */
const ENTRY = /^(.+)\.(\d{13,15})$/;

export interface Quarantined {
  readonly key: string;
  readonly path: string;
  readonly allocatedBytes: number;
}

/** Call it under the exclusive lock, where no instance stands on the base. Gives the base's new path. */
export async function quarantineBase(paths: CachePaths, key: string): Promise<string> {
  const path = join(paths.quarantine, `${key}.${Date.now()}`);
  // The base first: where this is cut short, a record without a base is removed at the next start.
  await callNative((addon, id) => addon.publishFile(paths.base(key), path, true, id), {
    operation: 'move a damaged base away',
  });
  const record = paths.record(key);
  const there = await callNative((addon, id) => addon.statFile(record, id), {
    operation: 'look for a record',
  });
  if (there) {
    await callNative((addon, id) => addon.publishFile(record, `${path}.json`, true, id), {
      operation: "move a damaged base's record away",
    });
  }
  return path;
}

/** The oldest first. */
export async function listQuarantine(paths: CachePaths): Promise<Quarantined[]> {
  const files = await callNative((addon, id) => addon.readDirectory(paths.quarantine, 0, id), {
    operation: 'list the quarantine',
  });
  const entries: { readonly at: number; readonly entry: Quarantined }[] = [];
  for (const { name, allocatedBytes } of files) {
    const [, key, at] = ENTRY.exec(name) ?? [];
    if (key === undefined) continue;
    entries.push({ at: Number(at), entry: { key, path: join(paths.quarantine, name), allocatedBytes } });
  }
  return entries.sort((a, b) => a.at - b.at).map(({ entry }) => entry);
}

export async function removeQuarantined({ path }: Quarantined): Promise<void> {
  for (const each of [path, `${path}.json`]) {
    await callNative((addon, id) => addon.removeTree(each, id), { operation: 'empty the quarantine' });
  }
}
