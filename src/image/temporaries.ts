// Files of fetches under way: who holds the lock of their key owns them.
import { callNative } from '../native.js';
import { type CachePaths, keyOfTemporary } from './cache-paths.js';

/** Call it under the exclusive lock of that key. */
export async function removeLeftovers(paths: CachePaths, key: string): Promise<void> {
  const names = await callNative((addon, id) => addon.listDirectory(paths.temporaries, id), {
    operation: 'list temporary files',
  });
  for (const name of names) {
    if (keyOfTemporary(name) === key) await removeTemporary(`${paths.temporaries}/${name}`);
  }
}

export async function removeTemporary(path: string): Promise<void> {
  await callNative((addon, id) => addon.removeTree(path, id), { operation: 'remove a temporary file' });
}
