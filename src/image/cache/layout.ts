// The directories of the cache.
import { callNative } from '../../native.js';
import type { CachePaths } from '../cache-paths.js';

export async function makeDirectories(paths: CachePaths): Promise<void> {
  const make = (path: string, mode: number): Promise<boolean> =>
    callNative((addon, id) => addon.makeDirectory(path, mode, id), { operation: 'make the image cache' });
  // QEMU runs as another user: it may pass through to the one base that it was told, and list nothing.
  await make(paths.instances, 0o711);
  await make(paths.bases, 0o711);
  for (const path of [
    paths.temporaries,
    paths.locks,
    paths.quarantine,
    paths.pins,
    paths.used,
    paths.scrubbed,
  ]) {
    await make(path, 0o700);
  }
}
