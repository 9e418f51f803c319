// node-compute image cache rm: one image, unless something uses it.
import { Command } from 'commander';
import { action } from '../../../command.js';
import { onCache, type SharedOptions, withCacheOptions } from '../../../node-options.js';

export function rmCommand(): Command {
  return withCacheOptions(
    new Command('rm')
      .description('remove an image from the cache; refused while an instance stands on it')
      .argument('<image>', 'its id, or the name of its base'),
  ).action(
    action(async ({ output }, image: string, flags: SharedOptions) => {
      await onCache(flags, (cache) => cache.remove(image));
      output.result({ image }, '');
    }),
  );
}
