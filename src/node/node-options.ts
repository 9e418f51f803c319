// The options of a node, checked once and with their defaults.
import { isAbsolute, normalize } from 'node:path';
import { z } from 'zod';
import { ComputeError } from '../driver/errors.js';
import { defaultLogger } from './default-log.js';
import type { ComputeNodeOptions, Logger } from './types.js';

export const DEFAULT_DRIVER = 'libvirt.LibvirtDriver';
export const DEFAULT_INSTANCES_PATH = '/var/lib/node-compute/instances';

export type NodeOptions = Required<Omit<ComputeNodeOptions, 'allocationRatios' | 'reserved'>> &
  Pick<ComputeNodeOptions, 'allocationRatios' | 'reserved'>;

const amount = z.number().min(0).optional();

/** Ratios and reservations are checked in full by the tracker that uses them. */
const optionsSchema = z.strictObject({
  driver: z.string().max(255).default(DEFAULT_DRIVER),
  driverOptions: z.record(z.string(), z.unknown()).default({}),
  instancesPath: z
    .string()
    .max(3000)
    .refine((path) => isAbsolute(path) && !path.includes('\0'), 'is not an absolute path')
    .transform((path) => normalize(path))
    .default(DEFAULT_INSTANCES_PATH),
  allocationRatios: z.strictObject({ cpu: amount, memory: amount, disk: amount }).optional(),
  reserved: z.strictObject({ memoryMb: amount, vcpus: amount, diskGb: amount }).optional(),
  maxConcurrentLaunches: z.int().min(1).max(10_000).default(10),
  logger: z.custom<Logger>(isLogger, 'needs the methods debug, info, warn and error').optional(),
});

/** Throws `INVALID_ARGUMENT`. */
export function parseNodeOptions(options: unknown): NodeOptions {
  const parsed = optionsSchema.safeParse(options);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
    );
    throw new ComputeError('INVALID_ARGUMENT', `options of the node: ${problems.join('; ')}`, {
      operation: 'open',
      details: { problems },
    });
  }
  const { logger, allocationRatios, reserved, ...rest } = parsed.data;
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
