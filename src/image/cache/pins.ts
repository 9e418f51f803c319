// Images that never age: a file for each, shared by all processes.
import { join } from 'node:path';
import * as v from 'valibot';
import { callNative } from '../../native.js';
import { type CachePaths, imageKey } from '../cache-paths.js';

const PIN_BYTES = 4096;
const pinSchema = v.object({ imageId: v.string() });

/** Pins an image that is in the cache or will be. Idempotent. */
export async function pinImage(paths: CachePaths, imageId: string): Promise<void> {
  const path = join(paths.pins, imageKey(imageId));
  const options = { how: 'replace', mode: 0o600, sync: true } as const;
  await callNative((addon, id) => addon.writeFile(path, `${JSON.stringify({ imageId })}\n`, options, id), {
    operation: `pin image ${imageId}`,
  });
}

/** Idempotent. */
export async function unpinImage(paths: CachePaths, imageId: string): Promise<void> {
  const path = join(paths.pins, imageKey(imageId));
  await callNative((addon, id) => addon.removeTree(path, id), { operation: `unpin image ${imageId}` });
}

export async function isPinned(paths: CachePaths, key: string): Promise<boolean> {
  const path = join(paths.pins, key);
  return (
    (await callNative((addon, id) => addon.statFile(path, id), { operation: 'look for a pin' })) !== undefined
  );
}

/** Names of pinned bases; a pin counts whatever is in its file. */
export async function pinnedKeys(paths: CachePaths): Promise<ReadonlySet<string>> {
  return new Set(
    await callNative((addon, id) => addon.listDirectory(paths.pins, id), { operation: 'list pins' }),
  );
}

/** The ids of pinned images, in order. */
export async function pinnedImages(paths: CachePaths): Promise<string[]> {
  const ids: string[] = [];
  for (const key of await pinnedKeys(paths)) {
    const bytes = await callNative((addon, id) => addon.readFile(join(paths.pins, key), PIN_BYTES, id), {
      operation: 'read a pin',
    }).catch(() => undefined);
    const pin = v.safeParse(pinSchema, parseJson(bytes));
    if (pin.success) ids.push(pin.output.imageId);
  }
  return ids.sort();
}

function parseJson(bytes: Buffer | undefined): unknown {
  try {
    return JSON.parse(bytes?.toString('utf8') ?? '');
  } catch {
    return undefined;
  }
}
