// node-compute image cache prune: one pass of ageing, now.
import { Command, Option } from 'commander';
import { action } from '../../../command.js';
import { onCache, type SharedOptions, withCacheOptions } from '../../../node-options.js';
import { table } from '../../../output.js';
import { bytesText } from '../../../units.js';
import { size } from '../size.js';
import { seconds } from './seconds.js';

interface Flags extends SharedOptions {
  readonly minAge: number;
  readonly maxBytes?: number;
  readonly dryRun: boolean;
}

export function pruneCommand(): Command {
  return withCacheOptions(
    new Command('prune')
      .description('remove images that nothing has used for long; pinned ones stay')
      .addOption(
        new Option('--min-age <seconds>', 'unused for that long').argParser(seconds).default(86_400, '24 h'),
      )
      .addOption(
        new Option('--max-bytes <bytes>', 'then the least recently used ones above; K, M, G, T').argParser(
          size,
        ),
      )
      .option('--dry-run', 'only tell what would go', false),
  ).action(
    action(async ({ output, signal }, { minAge, maxBytes, dryRun, ...flags }: Flags) => {
      const result = await onCache(flags, (cache) =>
        cache.prune({ minAgeMs: minAge * 1000, maxBytes, dryRun, signal }),
      );
      const rows = result.evicted.map(({ imageId, base, reason, bytes }) => [
        imageId ?? base,
        reason,
        bytesText(bytes),
      ]);
      const kept = `${result.bases} kept, ${result.inUse} of them in use, ${bytesText(result.bytes)}`;
      output.result(
        { dryRun, ...result },
        rows.length > 0 ? `${table([dryRun ? 'would go' : 'removed', 'for', 'bytes'], rows)}\n${kept}` : kept,
      );
    }),
  );
}
