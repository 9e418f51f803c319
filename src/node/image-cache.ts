// What a node asks of its driver's image cache.
import type { CacheImageOptions, CacheOutcome, CallOptions } from '../driver/compute-driver.js';
import type { ImageMeta } from '../driver/model.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';

const FETCH_TIMEOUT_MS = 600_000;

export async function cacheImage(
  { driver, calls }: NodeContext,
  image: ImageMeta,
  options: CacheImageOptions,
): Promise<CacheOutcome> {
  const { signal, timeoutMs = FETCH_TIMEOUT_MS, onProgress } = options;
  return await calls.run({ operation: 'cacheImage', signal, timeoutMs }, async (deadline) => {
    return await driver.cacheImage(image, { signal: deadline.signal, timeoutMs, onProgress });
  });
}

/** One pass of ageing. The images of this node's instances count as used, also while a launch has no disk yet. */
export async function manageImageCache({ driver, instances }: NodeContext, call: CallOptions): Promise<void> {
  const inUse = new Set([...instances.values()].flatMap(imagesOf));
  await driver.manageImageCache([...inUse], call);
}

/** One that has left the host needs none, until it begins to come back. */
function imagesOf({ instance, rescueImage, shelved, inDoubt }: KnownInstance): string[] {
  const change = inDoubt?.change;
  if (shelved?.offloaded) return change?.kind === 'unshelve' ? [shelved.image.id] : [];
  return [
    instance.image.id,
    ...(rescueImage ? [rescueImage.id] : []),
    ...(change && 'image' in change ? [change.image.id] : []),
  ];
}
