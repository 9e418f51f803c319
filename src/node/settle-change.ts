// A rescue, a rebuild or a shelving between two lines of the journal, and how it is settled when it was cut short.
import { ComputeError } from '../driver/errors.js';
import { insist } from '../driver/insist.js';
import { afterChange, type Change, shelf } from './change.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';
import { reasonOf } from './node-errors.js';
import { removeFromHost } from './removal.js';

/** For which a hypervisor may be away meanwhile. */
const SETTLE_PATIENCE_MS = 60_000;

type SettleContext = Pick<NodeContext, 'driver' | 'tracker' | 'files'>;

/**
 * Runs the work between two lines of the journal. Where it fails the driver has undone it; what it could not undo is
 * settled here, or else by the next operation or the next start of the node.
 */
export async function changeInstance<T>(
  context: SettleContext & Pick<NodeContext, 'log'>,
  known: KnownInstance,
  change: Change,
  work: (switched: () => Promise<void>) => Promise<T>,
): Promise<T> {
  await known.journal.append({ event: 'change', change });
  known.inDoubt = { change, switched: false };
  try {
    const result = await work(async () => {
      await known.journal.append({ event: 'switched' });
      known.inDoubt = { change, switched: true };
    });
    await conclude(known, change);
    return result;
  } catch (error) {
    // It says so only before its first effect.
    const untouched = change.kind === 'unrescue' && ComputeError.is(error) && error.code === 'ABORTED';
    const settle = async (): Promise<unknown> => (untouched ? abandon(known) : settleChange(context, known));
    await insist(SETTLE_PATIENCE_MS, settle).catch((failure: unknown) => {
      const { uuid } = known.instance;
      context.log.error(`${change.kind} of ${uuid} failed, and so did settling it: ${reasonOf(failure)}`, {
        instanceUuid: uuid,
      });
    });
    throw error;
  }
}

/**
 * Brings an instance whose change was cut short to its old or its new state, and has it run if it did. Returns what was
 * done; undefined where nothing is in doubt.
 */
export async function settleChange(
  context: SettleContext,
  known: KnownInstance,
): Promise<string | undefined> {
  if (known.inDoubt === undefined) return undefined;
  const { change, switched } = known.inDoubt;
  const { driver } = context;
  const { shelved, instance } = known;
  let finished = switched;
  let run = 'runs' in change && change.runs;
  switch (change.kind) {
    case 'rescue':
      await driver.unrescue(instance, { powerOn: false });
      break;
    case 'unrescue':
      await driver.unrescue(instance, { powerOn: false });
      finished = true;
      run = true;
      break;
    case 'rebuild': {
      const next = switched ? afterChange(known, change).instance : instance;
      await driver.settleRebuild(next, switched ? 'new' : 'old');
      break;
    }
    case 'shelve':
      await driver.undoSnapshot(instance, shelf(change));
      break;
    case 'offload':
      await removeFromHost(context, known);
      context.tracker.release(instance.uuid);
      finished = true;
      break;
    case 'unshelve':
      if (shelved?.offloaded) {
        await removeFromHost(context, known);
        context.tracker.release(instance.uuid);
      } else if (await driver.instanceExists(instance.uuid)) await driver.powerOff(instance.uuid);
      break;
  }
  await (finished ? conclude(known, change) : abandon(known));
  // A guest that does not start leaves nothing half done.
  if (run) await insist(SETTLE_PATIENCE_MS, () => driver.powerOn(known.instance));
  return finished ? 'finished' : 'undone';
}

async function conclude(known: KnownInstance, change: Change): Promise<void> {
  await known.journal.append({ event: 'changed' });
  known.inDoubt = undefined;
  const { instance, diskGb, rescueImage, shelved } = afterChange(known, change);
  Object.assign(known, { instance, diskGb, rescueImage, shelved });
}

async function abandon(known: KnownInstance): Promise<void> {
  await known.journal.append({ event: 'done' });
  known.inDoubt = undefined;
}
