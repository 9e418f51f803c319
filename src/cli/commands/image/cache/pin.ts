// node-compute image cache pin, unpin: images that never age.
import { Command } from 'commander';
import { action } from '../../../command.js';
import { onCache, type SharedOptions, withCacheOptions } from '../../../node-options.js';

export function pinCommand(): Command {
  return withCacheOptions(
    new Command('pin')
      .description('keep an image, cached or not yet, from ageing')
      .argument('<image>', 'its id'),
  ).action(
    action(async ({ output }, image: string, flags: SharedOptions) => {
      await onCache(flags, (cache) => cache.pin(image));
      output.result({ image, pinned: true }, '');
    }),
  );
}

export function unpinCommand(): Command {
  return withCacheOptions(
    new Command('unpin').description('let an image age again').argument('<image>', 'its id'),
  ).action(
    action(async ({ output }, image: string, flags: SharedOptions) => {
      await onCache(flags, (cache) => cache.unpin(image));
      output.result({ image, pinned: false }, '');
    }),
  );
}
