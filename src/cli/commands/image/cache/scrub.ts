// node-compute image cache scrub: reads images again and compares them with what they were.
import { Command, Option } from 'commander';
import { ComputeError } from '../../../../driver/errors.js';
import { action } from '../../../command.js';
import { onCache, type SharedOptions, withCacheOptions } from '../../../node-options.js';
import { table } from '../../../output.js';
import { Progress } from '../../../progress.js';
import { size } from '../size.js';

interface Flags extends SharedOptions {
  readonly rate: number;
}

export function scrubCommand(): Command {
  return withCacheOptions(
    new Command('scrub')
      .description('read images and compare them with what they were; exit status 1 where one is damaged')
      .argument('[image...]', 'ids, or names of bases; default all')
      .addOption(
        new Option('--rate <bytes>', 'that are read a second; K, M, G')
          .argParser(size)
          .default(16 * 2 ** 20, '16M'),
      ),
  ).action(
    action(async ({ output, signal }, images: readonly string[], { rate, ...flags }: Flags) => {
      using progress = new Progress(output);
      const results = await onCache(flags, (cache) =>
        cache.scrub({
          ...(images.length > 0 && { images }),
          bytesPerSecond: Math.max(1, rate),
          signal,
          onProgress: ({ base, ...done }) =>
            progress.show({ activity: `reading ${base.slice(0, 12)}`, ...done }),
        }),
      );
      progress[Symbol.dispose]();
      const damaged = results.filter(({ verdict }) => verdict === 'damaged');
      const rows = results.map(({ imageId, base, verdict }) => [imageId ?? base, verdict]);
      if (damaged.length === 0) {
        output.result({ images: results }, table(['image', 'verdict'], rows));
        return;
      }
      const names = damaged.map(({ imageId, base }) => imageId ?? base);
      throw new ComputeError(
        'IMAGE_UNACCEPTABLE',
        `damaged: ${names.join(', ')}; no new instance gets them, the next launch or prefetch fetches them again`,
        { operation: 'scrub', details: { rule: 'base-damaged', images: results } },
      );
    }),
  );
}
