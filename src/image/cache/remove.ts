// The removal of one image by hand.
import { ComputeError } from '../../driver/errors.js';
import { tryBaseLock } from '../cache-lock.js';
import type { CacheContext } from './context.js';
import { instancesOn, removeBase } from './damage.js';
import { isPinned } from './pins.js';

/** Rejects with `IMAGE_IN_USE`, `INVALID_STATE`, `IMAGE_NOT_FOUND`, SYSTEM. */
export async function removeImage(context: CacheContext, key: string): Promise<void> {
  const { paths, lookup, logger, telemetry } = context;
  const operation = 'removal from the image cache';
  const path = paths.base(key);
  if (await isPinned(paths, key)) {
    throw new ComputeError('INVALID_STATE', `the base ${path} is pinned: unpin its image first`, {
      operation,
    });
  }
  const lock = await tryBaseLock(paths.lock(key));
  if (!lock) {
    throw new ComputeError('IMAGE_IN_USE', `a launch or a fetch works with ${path} just now: try again`, {
      operation,
      retryable: true,
      details: { path, instances: [] },
    });
  }
  try {
    const standing = await lookup.find(key);
    if (!standing) throw new ComputeError('IMAGE_NOT_FOUND', `there is no base ${path}`, { operation });
    if (standing.stat.links > 1) {
      const instances = await instancesOn(context, standing);
      throw new ComputeError(
        'IMAGE_IN_USE',
        `the base ${path} is in use: terminate ${instances.join(', ') || 'whatever holds a hard link to it'} first`,
        { operation, details: { path, instances } },
      );
    }
    const imageId = standing.record?.imageId;
    await removeBase(context, key);
    logger.info('removed a base by hand', { imageId, base: key });
    telemetry.publish({
      kind: 'evicted',
      base: key,
      imageId,
      reason: 'removed',
      bytes: standing.stat.allocatedBytes,
    });
  } finally {
    await lock.release(0);
  }
}
