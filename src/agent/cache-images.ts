// cache_images: an operator has images fetched before the first server needs them.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { reasonOf } from './instance-record.js';
import type { RpcMethod } from './rpc-endpoint.js';

type Outcome = 'cached' | 'existing' | 'unsupported' | 'error';

/** Nova's ComputeManager.cache_images: one after another; the answer has a word for each, whatever becomes of the others. */
export function cacheImages(host: ComputeHost): RpcMethod {
  return async ({ image_ids: given }, { signal }) => {
    const ids = new Set((Array.isArray(given) ? given : []).map(String));
    const outcomes = new Map<string, Outcome>();
    for (const id of ids) outcomes.set(id, await cacheImage(host, id, signal));
    return Object.fromEntries(outcomes);
  };
}

async function cacheImage(
  { node, images, log }: ComputeHost,
  id: string,
  signal: AbortSignal,
): Promise<Outcome> {
  try {
    const image = await images.find(id, { signal });
    return (await node.cacheImage(image, { signal })) === 'hit' ? 'existing' : 'cached';
  } catch (error) {
    signal.throwIfAborted();
    log.warn(`image ${id} is not cached: ${reasonOf(error)}`, { imageId: id });
    return ComputeError.is(error) && error.code === 'UNSUPPORTED' ? 'unsupported' : 'error';
  }
}
