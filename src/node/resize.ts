// Another flavor for an instance on its own host, until it is confirmed or reverted; every step is journaled before its effect.
import { setTimeout as pause } from 'node:timers/promises';
import { ComputeError, type ErrorCode, unsupported } from '../driver/errors.js';
import type { Flavor } from '../driver/model.js';
import type { KnownInstance } from './known-instance.js';
import { checkFlavorHoldsImage, diskClaimGb } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { reasonOf } from './node-errors.js';
import { operate, SHUTDOWN_MS } from './operation.js';
import { type ClaimedSize, currentSize, type PendingResize } from './pending-resize.js';
import { placed } from './placed.js';
import type { OperationOptions, ResizeOptions } from './types.js';

/** A disk may have to be copied. */
const RESIZE_TIMEOUT_MS = 900_000;
/** A hypervisor that went away in the middle is given this time to come back before the instance is left as it is. */
const COMEBACK_MS = 60_000;
const RETRY_MS = 500;
/** Of a guest that does not give back what was given to it. */
const UNFOLLOWED: ReadonlySet<ErrorCode> = new Set(['LIVE_RESIZE_FAILED', 'UNSUPPORTED']);

type Context = Pick<NodeContext, 'driver' | 'tracker' | 'log'>;

/** Old and new flavor are claimed together until it is confirmed or reverted, as Nova does. */
export async function resizeInstance(
  context: NodeContext,
  uuid: string,
  flavor: Flavor,
  options: ResizeOptions,
): Promise<void> {
  const { driver, tracker } = context;
  const { shutdownTimeoutMs = SHUTDOWN_MS, retryIntervalMs, autoConfirm = false } = options;
  const rules = { task: 'resize', options, timeoutMs: RESIZE_TIMEOUT_MS + shutdownTimeoutMs };
  await operate(context, uuid, rules, async (known, { signal }) => {
    if (!driver.capabilities.resize) throw unsupported(driver.name, 'resize', uuid);
    const { instance, diskGb } = known;
    checkFlavorHoldsImage(uuid, flavor, instance.image);
    const powerOn = await runs(context, known, signal);
    const wantedGb = diskClaimGb({ ...instance, flavor });
    const { properties } = instance.image;
    const placement = tracker.claimMove(uuid, flavor, { diskGb: wantedGb, properties });
    const resized = placed({ ...instance, flavor }, placement);
    const resize: PendingResize = {
      phase: 'migrating',
      old: { flavor: instance.flavor, diskGb, ...(instance.placement && { placement: instance.placement }) },
      new: { flavor, diskGb: wantedGb, ...(placement && { placement }) },
      powerOn,
    };
    try {
      await enter(known, resize);
    } catch (error) {
      tracker.endMove(uuid, false);
      throw error;
    }
    try {
      // The deadline of the whole is the one that counts: a large disk takes long to copy.
      const call = { signal, timeoutMs: Number.POSITIVE_INFINITY };
      await driver.migrateDiskAndPowerOff(instance, flavor, { shutdownTimeoutMs, retryIntervalMs, ...call });
      await driver.finishMigration(resized, { powerOn, ...call });
      await enter(known, { ...resize, phase: 'verify', finishedAt: new Date().toISOString() });
    } catch (error) {
      await takeBackAfter(context, known, resize, error);
      throw error;
    }
    context.publish({ type: 'resized', timestamp: Date.now(), uuid });
    if (autoConfirm) await confirm(context, known);
  });
}

export async function confirmResize(
  context: NodeContext,
  uuid: string,
  options: OperationOptions,
): Promise<void> {
  await operate(context, uuid, { task: 'confirmResize', options }, async (known) => {
    pendingOf(known, 'confirmResize');
    await confirm(context, known);
    context.publish({ type: 'resize-confirmed', timestamp: Date.now(), uuid });
  });
}

export async function revertResize(
  context: NodeContext,
  uuid: string,
  options: OperationOptions,
): Promise<void> {
  const rules = { task: 'revertResize', options, timeoutMs: RESIZE_TIMEOUT_MS };
  await operate(context, uuid, rules, async (known) => {
    await takeBack(context, known, pendingOf(known, 'revertResize'));
    context.publish({ type: 'resize-reverted', timestamp: Date.now(), uuid });
  });
}

/** Nova's _poll_unconfirmed_resizes. What fails is logged and tried again the next time. */
export async function confirmOldResizes(
  context: NodeContext,
  windowMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (const [uuid, { resize, task }] of context.instances) {
    if (resize?.phase !== 'verify' || task !== undefined || signal.aborted) continue;
    if (Date.now() - Date.parse(resize.finishedAt ?? '') < windowMs) continue;
    await confirmResize(context, uuid, { signal }).catch((error: unknown) => {
      context.log.warn(`the resize of ${uuid} could not be confirmed: ${reasonOf(error)}`);
    });
  }
}

/** Ends what was under way when a process died: a confirmation goes on, everything else is taken back. Returns what it was. */
export async function settleResize(
  context: Context,
  known: KnownInstance,
  resize: PendingResize,
): Promise<string> {
  const what = resize.phase === 'live' ? 'a change of its size' : 'a resize';
  try {
    if (resize.phase === 'confirming') {
      await confirm(context, known);
      return 'a resize was being confirmed, which is finished';
    }
    await takeBack(context, known, resize);
    return `${what} was interrupted and is taken back`;
  } catch (error) {
    return `${what} was interrupted and could not be settled, revertResize() tries again: ${reasonOf(error)}`;
  }
}

/** No signal stops it: what it drops cannot be had again. */
async function confirm({ driver, tracker }: Context, known: KnownInstance): Promise<void> {
  const resize = pendingOf(known, 'confirmResize');
  const { uuid } = known.instance;
  await enter(known, { ...resize, phase: 'confirming' });
  await driver.confirmMigration(known.instance);
  await leave(known, resize.new);
  tracker.endMove(uuid, true);
}

/** The old flavor again, from wherever it is. No signal stops it: half of it is worse than either end. */
export async function takeBack(context: Context, known: KnownInstance, resize: PendingResize): Promise<void> {
  const { driver, tracker } = context;
  const { uuid } = known.instance;
  const { old, powerOn } = resize;
  if (resize.phase === 'live') return await settleLive(context, known, resize);
  await enter(known, { ...resize, phase: 'reverting' });
  await driver.finishRevertMigration(known.instance, { powerOn });
  await leave(known, old);
  tracker.endMove(uuid, false);
}

/** As before, or where the guest does not give that back, as it was to become. */
async function settleLive(
  { driver, tracker }: Context,
  known: KnownInstance,
  { old, new: wanted }: PendingResize,
): Promise<void> {
  const { uuid } = known.instance;
  const powerState = await driver.getInfo(uuid).then((info) => info.powerState, lost);
  let size = old;
  // At rest the next start makes the definition anew.
  if (powerState === 'running') {
    const resized = { ...known.instance, flavor: wanted.flavor };
    try {
      await driver.liveResize(resized, old.flavor);
    } catch (error) {
      if (!(ComputeError.is(error) && UNFOLLOWED.has(error.code))) throw error;
      await driver.liveResize(known.instance, wanted.flavor);
      size = wanted;
    }
  }
  await leave(known, size);
  tracker.endMove(uuid, size === wanted);
  if (tracker.has(uuid)) tracker.change(uuid, size.flavor, { diskGb: size.diskGb });
}

/** The domain went with its host: it is at rest. */
function lost(error: unknown): undefined {
  if (!(ComputeError.is(error) && error.code === 'INSTANCE_NOT_FOUND')) throw error;
}

/** After a failure. Where this fails too, it stays to be reverted by hand or by the next start. */
async function takeBackAfter(
  context: Context,
  known: KnownInstance,
  resize: PendingResize,
  cause: unknown,
): Promise<void> {
  const { uuid } = known.instance;
  context.log.warn(`the resize of ${uuid} failed and is taken back: ${reasonOf(cause)}`, {
    instanceUuid: uuid,
  });
  const end = performance.now() + COMEBACK_MS;
  for (;;) {
    try {
      await takeBack(context, known, resize);
      return;
    } catch (error) {
      if (ComputeError.is(error) && error.code === 'CONNECTION_LOST' && performance.now() < end) {
        await pause(RETRY_MS);
        continue;
      }
      context.log.error(`the resize of ${uuid} could not be taken back, revertResize() tries again`, {
        instanceUuid: uuid,
        error: reasonOf(error),
      });
      return;
    }
  }
}

/** Written down before it is so. */
export async function enter(known: KnownInstance, resize: PendingResize): Promise<void> {
  await known.journal.append({ event: 'resize', resize });
  known.resize = resize;
  become(known, currentSize(resize));
}

/** It is over, one way or the other. */
export async function leave(known: KnownInstance, size: ClaimedSize): Promise<void> {
  await known.journal.append({ event: 'resized', ...size });
  known.resize = undefined;
  become(known, size);
}

function become(known: KnownInstance, { flavor, diskGb, placement }: ClaimedSize): void {
  known.instance = placed({ ...known.instance, flavor }, placement);
  known.diskGb = diskGb;
}

function pendingOf({ instance, resize }: KnownInstance, operation: string): PendingResize {
  if (resize) return resize;
  throw new ComputeError('INVALID_STATE', `${operation}: instance ${instance.uuid} has not been resized`, {
    operation,
    instanceUuid: instance.uuid,
  });
}

/** Nova resizes what is active or stopped. */
async function runs({ driver }: Context, { instance }: KnownInstance, signal: AbortSignal): Promise<boolean> {
  const { uuid } = instance;
  const { powerState } = await driver.getInfo(uuid, { signal });
  if (powerState === 'running') return true;
  if (powerState === 'shutdown' || powerState === 'crashed') return false;
  throw new ComputeError(
    'INVALID_STATE',
    `resize: instance ${uuid} is ${powerState}; it has to run or to be stopped`,
    { operation: 'resize', instanceUuid: uuid, details: { powerState } },
  );
}
