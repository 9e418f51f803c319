// A resize that is not over: both flavors, and how far it has come. As the journal holds it.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import type { Flavor } from '../driver/model.js';
import type { InstancePlacement } from '../driver/placement.js';
import { integer } from '../driver/schema.js';
import { flavorSchema, placementSchema } from './instance-schema.js';

/**
 * `migrating`: under way; `verify`: done, Nova's VERIFY_RESIZE, it waits to be confirmed or reverted; `confirming`,
 * `reverting`: that is under way, or failed and can be tried again; `live`: memory or vCPUs of the running guest are being
 * changed, or that could not be taken back.
 */
export type ResizePhase = 'migrating' | 'verify' | 'confirming' | 'reverting' | 'live';

/** A flavor with the disk that is claimed for it, in GiB. */
export interface ClaimedSize {
  readonly flavor: Flavor;
  readonly diskGb: number;
  /** Where that claim is on the host's cells. */
  readonly placement?: InstancePlacement | undefined;
}

export interface PendingResize {
  readonly phase: ResizePhase;
  readonly old: ClaimedSize;
  readonly new: ClaimedSize;
  /** It ran before: it does so after a revert too. */
  readonly powerOn: boolean;
  /** When it came to `verify`: ISO 8601, UTC. */
  readonly finishedAt?: string;
}

const sizeSchema = v.object({
  flavor: flavorSchema,
  diskGb: integer(0),
  placement: v.exactOptional(placementSchema),
});

export const pendingResizeSchema: v.GenericSchema<unknown, PendingResize> = v.object({
  phase: v.picklist(['migrating', 'verify', 'confirming', 'reverting', 'live']),
  old: sizeSchema,
  new: sizeSchema,
  powerOn: v.boolean(),
  finishedAt: v.exactOptional(v.pipe(v.string(), v.isoTimestamp())),
});

/** What the instance is while the resize has come so far. */
export function currentSize({ phase, old, new: wanted }: PendingResize): ClaimedSize {
  return phase === 'verify' || phase === 'confirming' ? wanted : old;
}

/** Whether it is meant to be stopped then; undefined where the resize leaves that as it is. */
export function haltedBy({ phase, powerOn }: PendingResize): boolean | undefined {
  // Whatever was done with it while it waited: it stops, or runs, as before.
  return phase === 'reverting' ? !powerOn : undefined;
}

const STANDING = ['start', 'shutdown', 'reboot', 'pause', 'unpause', 'triggerCrashDump'];

const ALLOWED: Readonly<Record<ResizePhase, readonly string[]>> = {
  migrating: ['revertResize'],
  verify: [...STANDING, 'confirmResize', 'revertResize'],
  confirming: ['confirmResize'],
  reverting: ['revertResize'],
  live: [...STANDING, 'revertResize'],
};

/** Throws `INVALID_STATE` for what has to wait until a resize is over. */
export function checkResizeAllows(task: string, uuid: string, resize: PendingResize | undefined): void {
  if (resize === undefined || ALLOWED[resize.phase].includes(task)) return;
  const remedy = ALLOWED[resize.phase].filter((one) => !STANDING.includes(one)).join('() or ');
  throw new ComputeError(
    'INVALID_STATE',
    `${task}: a resize of instance ${uuid} is not over (${resize.phase}); first ${remedy || 'terminate'}()`,
    { operation: task, instanceUuid: uuid, details: { resize: resize.phase } },
  );
}
