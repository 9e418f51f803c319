// What start-up does about an earlier process: its journals, the hypervisor's list and the directories are compared.
import { ComputeError } from '../driver/errors.js';
import { isInstanceUuid } from '../driver/identity.js';
import type { Instance, InstanceSummary, PowerState } from '../driver/model.js';
import type { ChangeInDoubt } from './change.js';
import { recordOf, settleDevice } from './devices.js';
import { type DeviceInDoubt, Journal, type JournalState } from './journal.js';
import { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';
import { reasonOf } from './node-errors.js';
import { removeFromHost } from './removal.js';
import { settleResize } from './resize.js';
import { settleChange } from './settle-change.js';
import { settleSnapshot } from './snapshot.js';
import type { Recovery } from './types.js';

/** What recovery needs; there are no numbers to give out and no calls to count yet. */
export interface RecoveryContext
  extends Pick<NodeContext, 'driver' | 'tracker' | 'files' | 'instances' | 'log'> {
  readonly resumeGuestsOnHostBoot: boolean;
}

type KnownJournal = Extract<JournalState, { kind: 'known' }>;

/** Instances looked after at the same time. */
const WIDTH = 8;
/** Given to a guest to let go of a device that an earlier process was busy with. */
const SETTLE_TIMEOUT_MS = 30_000;

/**
 * Adopts what is whole, with its claims; removes what is half made or half gone. What it cannot explain by a journal of
 * its own it reports and leaves alone. Never rejects because of one instance.
 */
export async function recover(context: RecoveryContext): Promise<Recovery[]> {
  const { driver, files, tracker, instances, log } = context;
  const [journals, names, domains] = await Promise.all([
    files.list(files.journalPath),
    files.list(files.instancesPath),
    driver.listInstances(),
  ]);
  const host: Host = {
    directories: new Set(names.filter(isInstanceUuid)),
    domains: new Map(domains.map((domain) => [domain.uuid, domain])),
  };
  const uuids = journals.filter(isInstanceUuid);
  const recoveries = await mapBounded(uuids, WIDTH, (uuid) => recoverOne(context, host, uuid));
  recoveries.push(...unexplained(host, new Set(uuids)));
  tracker.rebuild(
    [...instances.values()]
      .filter(({ shelved }) => !shelved?.offloaded)
      .map(({ instance, diskGb, resize }) => ({
        uuid: instance.uuid,
        properties: instance.image.properties,
        ...(resize?.old ?? { flavor: instance.flavor, diskGb, placement: instance.placement }),
        move: resize?.new,
      })),
  );
  for (const recovery of recoveries) {
    const { uuid, action, reason } = recovery;
    const level = action === 'failed' ? 'error' : action === 'left' ? 'warn' : 'info';
    log[level](`instance ${uuid} from before this start: ${action}: ${reason}`, {
      instanceUuid: uuid,
      action,
    });
  }
  return recoveries;
}

interface Host {
  readonly directories: ReadonlySet<string>;
  readonly domains: ReadonlyMap<string, InstanceSummary>;
}

async function recoverOne(context: RecoveryContext, host: Host, uuid: string): Promise<Recovery> {
  const journal = new Journal(context.files, uuid);
  try {
    const state = await journal.read();
    switch (state.kind) {
      case 'unreadable':
        return { uuid, action: 'left', reason: `its journal cannot be read: ${state.reason}` };
      case 'empty':
        return await recoverUnbegun(host, uuid, journal);
      case 'known':
        if (state.instance.uuid !== uuid) {
          return { uuid, action: 'left', reason: `its journal tells of ${state.instance.uuid}` };
        }
        return state.phase === 'launched'
          ? await adopt(context, host, journal, state)
          : await removeRemains(context, journal, state);
      default:
        throw new ComputeError('INTERNAL', `journal state ${JSON.stringify(state satisfies never)}`);
    }
  } catch (error) {
    return { uuid, action: 'left', reason: reasonOf(error) };
  }
}

/** The process died while it wrote the first line: before any effect. */
async function recoverUnbegun(host: Host, uuid: string, journal: Journal): Promise<Recovery> {
  if (host.directories.has(uuid) || host.domains.has(uuid)) {
    return { uuid, action: 'left', reason: 'its journal is empty, but it has a directory or a domain' };
  }
  await journal.remove();
  return { uuid, action: 'rolled-back', reason: 'its launch had not begun' };
}

async function adopt(
  context: RecoveryContext,
  host: Host,
  journal: Journal,
  state: KnownJournal,
): Promise<Recovery> {
  const { instance, diskGb, device, inDoubt, resize, snapshot } = state;
  const { uuid } = instance;
  const known = new KnownInstance(instance, journal, 'ready', diskGb);
  known.rescueImage = state.rescueImage;
  known.shelved = state.shelved;
  known.inDoubt = inDoubt;
  known.resize = resize;
  context.instances.set(uuid, known);
  if (inDoubt) return { uuid, action: 'adopted', reason: await settleCut(context, known, inDoubt) };
  let settled = '';
  if (resize !== undefined && resize.phase !== 'verify') {
    settled = await settleResize(context, known, resize);
    // One that is taken back runs where it is to.
    const atRest = resize.phase === 'confirming' || resize.phase === 'live';
    if (!atRest) return { uuid, action: 'adopted', reason: settled };
    settled += '; ';
  }
  if (device !== undefined) settled += `${await settle(context, known, device)}; `;
  if (snapshot !== undefined) settled += `${await settleSnapshot(context, known, snapshot)}; `;
  const recovery = await resume(context, host, known, state);
  return { ...recovery, reason: settled + recovery.reason };
}

/** It ends what was under way, or starts what ran before the host went down. */
async function resume(
  context: RecoveryContext,
  host: Host,
  known: KnownInstance,
  { task, device, snapshot, halted }: KnownJournal,
): Promise<Recovery> {
  const { instance, journal } = known;
  const { uuid } = instance;
  // What stays in doubt stands in the journal alone.
  if (device === undefined && snapshot === undefined) await journal.compact(known, halted, known.resize);
  const powerState = host.domains.get(uuid)?.powerState;
  if (known.shelved?.offloaded)
    return { uuid, action: 'adopted', reason: 'it is shelved, and not on this host' };
  if (task === undefined) {
    const rests = halted || known.shelved !== undefined || !context.resumeGuestsOnHostBoot;
    return rests || powerState === 'running' || powerState === 'paused'
      ? { uuid, action: 'adopted', reason: standing(powerState) }
      : await startAgain(context, instance, powerState);
  }
  try {
    if (task === 'suspend') return await settleSuspend(context, instance, journal, powerState);
    if (powerState !== 'running' && powerState !== 'paused') await context.driver.powerOn(instance);
    await journal.append({ event: 'done' });
    return { uuid, action: 'adopted', reason: `its ${task} was interrupted and is finished` };
  } catch (error) {
    return {
      uuid,
      action: 'adopted',
      reason: `its ${task} was interrupted; starting it failed: ${reasonOf(error)}`,
    };
  }
}

/** Returns what became of it. Where it stays in doubt the next operation tries again, and the next start. */
async function settleCut(
  context: RecoveryContext,
  known: KnownInstance,
  { change }: ChangeInDoubt,
): Promise<string> {
  try {
    return `its ${change.kind} was interrupted and is ${await settleChange(context, known)}`;
  } catch (error) {
    const what = known.inDoubt ? 'settling it' : 'starting it';
    return `its ${change.kind} was interrupted; ${what} failed: ${reasonOf(error)}`;
  }
}

/** Returns what became of the device. Where it stays in doubt the next start tries again. */
async function settle(
  context: RecoveryContext,
  known: KnownInstance,
  device: DeviceInDoubt,
): Promise<string> {
  try {
    const call = { timeoutMs: SETTLE_TIMEOUT_MS };
    const { instance, outcome } = await settleDevice(context, known.instance, device, call);
    await known.journal.append(recordOf(instance));
    known.instance = instance;
    return `an attachment was interrupted: ${outcome}`;
  } catch (error) {
    return `an attachment was interrupted and could not be settled: ${reasonOf(error)}`;
  }
}

/** Suspended, or running as before: a hypervisor whose client died while it saved leaves the guest paused. */
async function settleSuspend(
  { driver }: RecoveryContext,
  { uuid }: Instance,
  journal: Journal,
  powerState: PowerState | undefined,
): Promise<Recovery> {
  if (powerState === 'suspended') await journal.append({ event: 'halted' });
  if (powerState === 'paused') await driver.unpause(uuid);
  await journal.append({ event: 'done' });
  const how = powerState === 'paused' ? 'undone: it runs on' : `over: it is ${powerState}`;
  return { uuid, action: 'adopted', reason: `its suspend was interrupted and is ${how}` };
}

/** Nova: resume_guests_state_on_host_boot. One that does not start is adopted all the same. */
async function startAgain(
  { driver }: RecoveryContext,
  instance: Instance,
  powerState: PowerState | undefined,
): Promise<Recovery> {
  const { uuid } = instance;
  const found = `it ran before and was found ${powerState ?? 'without a domain'}`;
  try {
    await driver.resumeStateOnHostBoot(instance);
    return { uuid, action: 'adopted', reason: `${found}; started again` };
  } catch (error) {
    return { uuid, action: 'adopted', reason: `${found}; starting it failed: ${reasonOf(error)}` };
  }
}

function standing(powerState: PowerState | undefined): string {
  return powerState === undefined
    ? 'its launch was complete; the hypervisor has lost its domain, start() makes it again'
    : `its launch was complete, it is ${powerState}`;
}

/** A launch that did not end, or a termination that did not. */
async function removeRemains(
  context: RecoveryContext,
  journal: Journal,
  { instance, diskGb, phase, step, snapshot }: KnownJournal,
): Promise<Recovery> {
  const { uuid } = instance;
  const known = new KnownInstance(instance, journal, 'broken', diskGb);
  const what =
    phase === 'terminating'
      ? 'its termination was interrupted'
      : `its launch was interrupted in step ${step ?? 'claim'}`;
  try {
    if (snapshot !== undefined) await settleSnapshot(context, known, snapshot);
    // Without a step the driver had not been at it: a domain of that uuid would be somebody else's.
    if (phase === 'terminating' || step !== undefined) await removeFromHost(context, known);
    await journal.remove();
    return { uuid, action: phase === 'terminating' ? 'removed' : 'rolled-back', reason: what };
  } catch (error) {
    context.instances.set(uuid, known);
    return { uuid, action: 'failed', reason: `${what}; removing it failed: ${reasonOf(error)}` };
  }
}

/** A journal is there from before the first effect until after the last: without one, it is not ours to touch. */
function unexplained(host: Host, journaled: ReadonlySet<string>): Recovery[] {
  const uuids = new Set([...host.directories, ...host.domains.keys()].filter((uuid) => !journaled.has(uuid)));
  return [...uuids].map((uuid) => {
    const what = [
      ...(host.domains.has(uuid) ? ['domain'] : []),
      ...(host.directories.has(uuid) ? ['directory'] : []),
    ].join(' and ');
    return { uuid, action: 'left', reason: `a ${what} without a journal: not made by this node` };
  });
}

async function mapBounded<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const run = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, run));
  return results;
}
