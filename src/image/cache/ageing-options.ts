// When bases go and how often they are read again: the options and their defaults.
import * as v from 'valibot';
import { ComputeError } from '../../driver/errors.js';
import { check, integer } from '../../driver/schema.js';
import type { ImageCacheOptions } from '../types.js';

const DAY_MS = 86_400_000;

export interface AgeingOptions {
  readonly minAgeMs: number;
  /** undefined: no cap. */
  readonly maxBytes: number | undefined;
  /** 0: on demand only. */
  readonly scrubIntervalMs: number;
  readonly scrubBytesPerSecond: number;
}

const schema = v.object({
  minAgeMs: v.optional(integer(0), DAY_MS),
  maxBytes: v.optional(integer(1)),
  scrubIntervalMs: v.optional(integer(0), 7 * DAY_MS),
  scrubBytesPerSecond: v.optional(integer(1), 16 * 1024 * 1024),
});

/** Throws `INVALID_ARGUMENT`. */
export function ageingOptions(options: Partial<ImageCacheOptions>): AgeingOptions {
  const checked = check(schema, options);
  if (!checked.problems) return { ...checked.value, maxBytes: checked.value.maxBytes };
  const problems = checked.problems.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new ComputeError('INVALID_ARGUMENT', `options of the image cache: ${problems.join('; ')}`, {
    details: { problems },
  });
}
