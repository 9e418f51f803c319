// What the events have said of each domain, to be compared with what libvirt says when events may have been missed.
import type { LifecycleEvent, PowerState, ResyncChange } from '../driver/model.js';
import { powerStateAfter } from '../driver/power-state.js';
import type { NativeDomainRecord } from '../native.js';
import { powerState, SHUTTING_DOWN } from './states.js';

interface KnownDomain {
  readonly name: string;
  readonly state: PowerState;
  /** -1 when it is not running; another number: it was stopped and started. */
  readonly id: number;
}

export interface MissedEvent {
  readonly uuid: string;
  readonly name: string;
  readonly event: LifecycleEvent;
  readonly detail: string;
}

export interface Comparison {
  readonly events: readonly MissedEvent[];
  readonly changes: readonly ResyncChange[];
}

/** virDomainShutoffReason in the words of the event that was missed. */
const STOPPED_BY: Readonly<Record<number, string>> = {
  1: 'shutdown', // VIR_DOMAIN_SHUTOFF_SHUTDOWN
  2: 'destroyed', // VIR_DOMAIN_SHUTOFF_DESTROYED
  3: 'crashed', // VIR_DOMAIN_SHUTOFF_CRASHED
  4: 'migrated', // VIR_DOMAIN_SHUTOFF_MIGRATED
  5: 'saved', // VIR_DOMAIN_SHUTOFF_SAVED
  6: 'failed', // VIR_DOMAIN_SHUTOFF_FAILED
  7: 'from-snapshot', // VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT
  8: 'crashed', // VIR_DOMAIN_SHUTOFF_DAEMON: its process was gone when libvirtd came back
};

/** virDomainPausedReason likewise. */
const SUSPENDED_BY: Readonly<Record<number, string>> = {
  5: 'io-error', // VIR_DOMAIN_PAUSED_IOERROR
  6: 'watchdog', // VIR_DOMAIN_PAUSED_WATCHDOG
};

const runs = (state: PowerState | undefined): boolean => state === 'running' || state === 'paused';

export class DomainStates {
  readonly #domains = new Map<string, KnownDomain>();
  #touched: Set<string> | undefined;

  /** What an event says of its domain. */
  note(event: {
    readonly uuid: string;
    readonly name: string;
    readonly event: LifecycleEvent;
    readonly detail: string;
    readonly id: number;
  }): void {
    const { uuid, name, id } = event;
    this.#touched?.add(uuid);
    if (event.event === 'undefined') {
      this.#domains.delete(uuid);
      return;
    }
    const before = this.#domains.get(uuid);
    const state = powerStateAfter(event.event, event.detail) ?? before?.state ?? 'shutdown';
    this.#domains.set(uuid, { name, state, id: runs(state) ? id : -1 });
  }

  /** From here to {@link compare}: a domain of which an event comes meanwhile is what the event says. */
  beginComparison(): void {
    this.#touched = new Set();
  }

  /** Takes the records for the truth, and says by which events it would have been told. */
  compare(records: readonly NativeDomainRecord[]): Comparison {
    const touched = this.#touched ?? new Set();
    this.#touched = undefined;
    const events: MissedEvent[] = [];
    const changes: ResyncChange[] = [];
    const listed = new Set(records.map(({ uuid }) => uuid));
    for (const record of records) {
      const { uuid, name } = record;
      if (touched.has(uuid)) continue;
      const before = this.#domains.get(uuid);
      const after = powerState(record.state, record.saved);
      const id = runs(after) ? record.id : -1;
      this.#domains.set(uuid, { name, state: after, id });
      if (before?.state === after && before.id === id) continue;
      changes.push({ uuid, name, before: before?.state, after });
      for (const missed of missedEvents(before, record, after)) events.push({ uuid, name, ...missed });
    }
    for (const [uuid, { name, state }] of this.#domains) {
      if (listed.has(uuid) || touched.has(uuid)) continue;
      this.#domains.delete(uuid);
      changes.push({ uuid, name, before: state, after: undefined });
      // Why it stopped nobody can tell any more.
      if (runs(state)) events.push({ uuid, name, event: 'stopped', detail: 'unknown' });
      events.push({ uuid, name, event: 'undefined', detail: 'removed' });
    }
    return { events, changes };
  }
}

type Missed = Pick<MissedEvent, 'event' | 'detail'>;

function missedEvents(
  before: KnownDomain | undefined,
  record: NativeDomainRecord,
  after: PowerState,
): Missed[] {
  const missed: Missed[] = before === undefined ? [{ event: 'defined', detail: 'added' }] : [];
  const ran = before !== undefined && runs(before.state);
  if (!runs(after)) {
    // Its process is still there: the event of its stop will come.
    if (record.state === SHUTTING_DOWN) missed.push({ event: 'shutdown', detail: 'guest' });
    else if (after === 'crashed') missed.push({ event: 'crashed', detail: 'panicked' });
    else if (before !== undefined) {
      missed.push({ event: 'stopped', detail: STOPPED_BY[record.reason] ?? 'unknown' });
    }
    return missed;
  }
  const restarted = ran && before.id !== record.id;
  if (restarted) missed.push({ event: 'stopped', detail: 'unknown' });
  if (restarted || !ran) missed.push({ event: 'started', detail: 'booted' });
  if (after === 'paused' && (restarted || before?.state !== 'paused')) {
    missed.push({ event: 'suspended', detail: SUSPENDED_BY[record.reason] ?? 'paused' });
  } else if (after === 'running' && !restarted && before?.state === 'paused') {
    missed.push({ event: 'resumed', detail: 'unpaused' });
  }
  return missed;
}
