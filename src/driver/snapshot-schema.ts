// A snapshot as it is asked for: checked before anything is done.
import * as v from 'valibot';
import type { SnapshotOptions } from './compute-driver.js';
import { ComputeError } from './errors.js';
import { cleanText, nameText } from './image-schema.js';
import { check, closed, closedEntries } from './schema.js';
import type { SnapshotTarget } from './snapshot.js';

export const snapshotTargetSchema: v.GenericSchema<unknown, SnapshotTarget> = v.pipe(
  closed(
    v.variant('type', [
      closedEntries({
        type: v.literal('glance'),
        imageId: v.exactOptional(v.pipe(v.string(), v.uuid('is not a UUID'), v.toLowerCase())),
        create: v.exactOptional(v.boolean()),
        name: v.exactOptional(nameText),
      }),
      closedEntries({
        type: v.literal('file'),
        path: v.pipe(
          cleanText(4000),
          v.regex(/^\/(?:.*\/)?(?!\.{1,2}$)[^/]+$/, 'is not the absolute path of a file'),
        ),
      }),
    ]) as v.GenericSchema<object, SnapshotTarget>,
  ),
  v.check(
    (target) => target.type !== 'glance' || target.create !== false || target.imageId !== undefined,
    'needs an imageId where no record is made',
  ),
);

export type ImageFormat = Required<Pick<SnapshotOptions, 'format' | 'compression'>> & {
  readonly format: 'qcow2' | 'raw';
  readonly compression: 'zlib' | 'zstd' | 'none';
};

const formatSchema: v.GenericSchema<unknown, ImageFormat> = v.pipe(
  v.object({
    format: v.optional(v.picklist(['qcow2', 'raw']), 'qcow2'),
    compression: v.optional(v.picklist(['zlib', 'zstd', 'none'])),
  }),
  v.check(
    ({ format, compression = 'none' }) => format === 'qcow2' || compression === 'none',
    'a raw image is not compressed',
  ),
  v.transform(({ format, compression = format === 'raw' ? 'none' : 'zstd' }) => ({ format, compression })),
);

/** Throws `INVALID_ARGUMENT`. */
export function parseSnapshotTarget(target: unknown, instanceUuid: string): SnapshotTarget {
  return parse(snapshotTargetSchema, target, 'the target', instanceUuid);
}

/** Throws `INVALID_ARGUMENT`. */
export function parseSnapshotFormat(
  { format, compression }: SnapshotOptions,
  instanceUuid: string,
): ImageFormat {
  return parse(formatSchema, { format, compression }, 'the image', instanceUuid);
}

function parse<T>(
  schema: v.GenericSchema<unknown, T>,
  input: unknown,
  what: string,
  instanceUuid: string,
): T {
  const checked = check(schema, input);
  if (!checked.problems) return checked.value;
  const problems = checked.problems.map(({ path, message }) => ({ path: path.join('.'), message }));
  const text = problems.map(({ path, message }) => `${path} ${message}`.trim()).join('; ');
  throw new ComputeError('INVALID_ARGUMENT', `snapshot: ${what} is not valid: ${text}`.slice(0, 2000), {
    operation: 'snapshot',
    instanceUuid,
    details: { problems },
  });
}
