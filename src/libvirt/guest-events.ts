// libvirt's events of running guests in our words.
import type { UnnumberedEvent } from '../driver/event-stream.js';
import type { JobOperation } from '../driver/guest-events.js';
import type { NativeGuestEvent, NativeStatistics } from '../native.js';

const IO_ERROR_ACTIONS = ['none', 'pause', 'report'] as const;
const WATCHDOG_ACTIONS = ['none', 'pause', 'reset', 'poweroff', 'shutdown', 'debug', 'inject-nmi'] as const;
const AGENT_REASONS = ['unknown', 'domain-started', 'channel'] as const;
/** virDomainJobOperation. */
const JOB_OPERATIONS: readonly JobOperation[] = [
  'unknown',
  'start',
  'save',
  'restore',
  'migration-in',
  'migration-out',
  'snapshot',
  'snapshot-revert',
  'dump',
  'backup',
  'snapshot-delete',
];
/** VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED. */
const AGENT_CONNECTED = 1;

/** Undefined for what is told twice: libvirt names the top of a chain as the disk and as a part of it. */
export function guestEvent(event: NativeGuestEvent): UnnumberedEvent | undefined {
  const { uuid, name, timestamp } = event;
  const of = { uuid, name, timestamp };
  switch (event.type) {
    case 'io-error': {
      const { type, alias, path, reason } = event;
      return { ...of, type, alias, path, reason, action: IO_ERROR_ACTIONS[event.action] ?? 'unknown' };
    }
    case 'watchdog':
      return { ...of, type: 'watchdog', action: WATCHDOG_ACTIONS[event.action] ?? 'unknown' };
    case 'agent': {
      const state = event.state === AGENT_CONNECTED ? 'connected' : 'disconnected';
      return { ...of, type: 'agent', state, reason: AGENT_REASONS[event.reason] ?? 'unknown' };
    }
    case 'job-completed':
      return { ...of, type: 'job-completed', ...jobFigures(event.statistics) };
    case 'balloon':
      return { ...of, type: 'balloon', memoryKib: event.memoryKib };
    case 'block-threshold': {
      const { disk, threshold, excess } = event;
      if (disk.includes('[')) return undefined;
      return { ...of, type: 'disk-threshold', disk, thresholdBytes: threshold, excessBytes: excess };
    }
  }
}

function jobFigures(statistics: NativeStatistics): {
  operation: JobOperation;
  success: boolean;
  elapsedMs: number;
  processedBytes: bigint;
  totalBytes: bigint;
} {
  const figure = (name: string): bigint => {
    const value = statistics[name];
    return typeof value === 'bigint' ? value : 0n;
  };
  // Of memory, or of disks; a migration of both counts them together.
  const bytes = (what: string): bigint => figure(`data_${what}`) || figure(`disk_${what}`);
  return {
    operation: JOB_OPERATIONS[Number(figure('operation'))] ?? 'unknown',
    // libvirt says it of failures too, and leaves it out where it has no doubt.
    success: statistics['success'] !== false,
    elapsedMs: Number(figure('time_elapsed')),
    processedBytes: bytes('processed'),
    totalBytes: bytes('total'),
  };
}
