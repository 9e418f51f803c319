// node-compute image cache ls: what is cached, who uses it, and since when nobody does.
import { Command } from 'commander';
import { action } from '../../../command.js';
import { onCache, type SharedOptions, withCacheOptions } from '../../../node-options.js';
import { table } from '../../../output.js';
import { ageText, bytesText } from '../../../units.js';

export function lsCommand(): Command {
  return withCacheOptions(new Command('ls').description('the cached images, the last used first')).action(
    action(async ({ output }, flags: SharedOptions) => {
      const { images, pinned } = await onCache(flags, async (cache) => ({
        images: await cache.list(),
        pinned: await cache.pinned(),
      }));
      const rows = images.map((image) => [
        image.imageId ?? image.base,
        bytesText(image.sizeBytes),
        bytesText(image.allocatedBytes),
        `${image.users}`,
        image.users > 0 ? 'in use' : ageText(image.ageMs),
        image.pinned ? 'yes' : '',
        image.verdict,
        image.source ?? '',
      ]);
      const head = ['image', 'size', 'on disk', 'users', 'unused for', 'pinned', 'verdict', 'source'];
      output.result({ images, pinned }, table(head, rows));
    }),
  );
}
