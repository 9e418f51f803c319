// The options of a node, checked once and with their defaults.
import { isAbsolute, normalize } from 'node:path';
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { check, closedObject, dictionary, integer } from '../driver/schema.js';
import { defaultLogger } from './default-log.js';
import type { ComputeNodeOptions, Logger } from './types.js';

export const DEFAULT_DRIVER = 'libvirt.LibvirtDriver';
export const DEFAULT_INSTANCES_PATH = '/var/lib/node-compute/instances';

export type NodeOptions = Required<Omit<ComputeNodeOptions, 'allocationRatios' | 'reserved'>> &
  Pick<ComputeNodeOptions, 'allocationRatios' | 'reserved'>;

const amount = v.optional(v.pipe(v.number(), v.finite(), v.minValue(0)));

/** Ratios and reservations are checked in full by the tracker that uses them. */
const optionsSchema = closedObject({
  driver: v.optional(v.pipe(v.string(), v.maxLength(255)), DEFAULT_DRIVER),
  driverOptions: v.optional(dictionary(v.string(), v.unknown()), {}),
  instancesPath: v.optional(
    v.pipe(
      v.string(),
      v.maxLength(3000),
      v.check((path) => isAbsolute(path) && !path.includes('\0'), 'is not an absolute path'),
      v.transform((path) => normalize(path)),
    ),
    DEFAULT_INSTANCES_PATH,
  ),
  allocationRatios: v.optional(closedObject({ cpu: amount, memory: amount, disk: amount })),
  reserved: v.optional(closedObject({ memoryMb: amount, vcpus: amount, diskGb: amount })),
  memoryOverheadMb: v.optional(integer(0, 1_048_576), 0),
  dedicatedCpus: v.optional(v.pipe(v.array(integer(0, 65_535)), v.maxLength(4096)), []),
  buildFailureThreshold: v.optional(integer(0, 1_000_000), 10),
  buildFailureHoldMs: v.optional(integer(1, 1_900_000_000), 600_000),
  maxConcurrentLaunches: v.optional(integer(1, 10_000), 10),
  // No longer than a timer can be.
  imageCacheIntervalMs: v.optional(integer(0, 1_900_000_000), 2_400_000),
  resizeConfirmWindowMs: v.optional(integer(0, 1_900_000_000), 0),
  powerSyncIntervalMs: v.optional(integer(0, 1_900_000_000), 600_000),
  forceConfigDrive: v.optional(v.boolean(), false),
  resumeGuestsOnHostBoot: v.optional(v.boolean(), false),
  logger: v.optional(v.custom<Logger>(isLogger, 'needs the methods debug, info, warn and error')),
});

/** Throws `INVALID_ARGUMENT`. */
export function parseNodeOptions(options: unknown): NodeOptions {
  const checked = check(optionsSchema, options);
  if (checked.problems) {
    const problems = checked.problems.map(
      ({ path, message }) => `${path.join('.') || 'options'}: ${message}`,
    );
    throw new ComputeError('INVALID_ARGUMENT', `options of the node: ${problems.join('; ')}`, {
      operation: 'open',
      details: { problems },
    });
  }
  const { logger, allocationRatios, reserved, ...rest } = checked.value;
  return {
    ...rest,
    ...(allocationRatios && { allocationRatios: present(allocationRatios) }),
    ...(reserved && { reserved: present(reserved) }),
    logger: logger ?? defaultLogger(),
  };
}

function isLogger(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const logger = value as Record<string, unknown>;
  return ['debug', 'info', 'warn', 'error'].every((level) => typeof logger[level] === 'function');
}

/** Without the keys whose value is undefined. */
function present<T extends Record<string, number | undefined>>(record: T): { [K in keyof T]?: number } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: number;
  };
}
