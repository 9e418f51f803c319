// node-compute image cache prefetch: an image for launches to come.
import { Command } from 'commander';
import { action } from '../../../command.js';
import { glanceFromEnvironment } from '../../../glance-environment.js';
import {
  IMAGE_PLACE,
  IMAGE_PLACE_HELP,
  type ImageFlags,
  imageFrom,
  withImageOptions,
} from '../../../image-flags.js';
import { onCache, type SharedOptions, withCacheOptions } from '../../../node-options.js';
import { Progress } from '../../../progress.js';
import { bytesText } from '../../../units.js';

export function prefetchCommand(): Command {
  return withCacheOptions(
    withImageOptions(
      new Command('prefetch')
        .description('fetch, verify and convert an image now; a launch finds it by the same id')
        .argument(IMAGE_PLACE, IMAGE_PLACE_HELP),
    ),
  ).action(
    action(async (run, place: string, flags: SharedOptions & ImageFlags) => {
      const { output, signal } = run;
      const { parseImage } = await import('../../../../node/launch-request.js');
      const image = parseImage(await imageFrom(place, flags, run));
      const images = image.source.type === 'glance' ? glanceFromEnvironment(process.env) : undefined;
      using progress = new Progress(output);
      const base = await onCache({ ...flags, ...(images && { images }) }, (cache) =>
        cache.prefetch(image, {
          signal,
          timeoutMs: Number.POSITIVE_INFINITY,
          onProgress: (one) => progress.show(one),
        }),
      );
      progress[Symbol.dispose]();
      output.result(
        { imageId: image.id, ...base },
        `${image.id}: ${base.how === 'hit' ? 'was cached' : base.how}, ${bytesText(base.virtualSizeBytes)}`,
      );
    }),
  );
}
