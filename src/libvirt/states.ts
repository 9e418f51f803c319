// libvirt's numbers for states and events in Nova's words.
import type { BlockJobStatus, LifecycleEvent, PowerState } from '../driver/model.js';

/** virDomainState; as Nova maps them: blocked runs, shutting down and shut off are both shutdown. */
const POWER_STATES: readonly PowerState[] = [
  'nostate', // VIR_DOMAIN_NOSTATE
  'running', // VIR_DOMAIN_RUNNING
  'running', // VIR_DOMAIN_BLOCKED
  'paused', // VIR_DOMAIN_PAUSED
  'shutdown', // VIR_DOMAIN_SHUTDOWN: the guest is on its way down
  'shutdown', // VIR_DOMAIN_SHUTOFF
  'crashed', // VIR_DOMAIN_CRASHED
  'suspended', // VIR_DOMAIN_PMSUSPENDED
];

/** VIR_DOMAIN_SHUTDOWN: still a process, no longer a running guest. */
export const SHUTTING_DOWN = 4;

/** One whose memory libvirt keeps on disk (`saved`) is suspended to us; Nova remembers that in its database, as vm_state. */
export function powerState(state: number, saved = false): PowerState {
  if (saved) return 'suspended';
  return POWER_STATES[state] ?? 'nostate';
}

/** virDomainEventType with the details of each (virDomainEvent*DetailType). */
const LIFECYCLE: readonly (readonly [LifecycleEvent, readonly string[]])[] = [
  ['defined', ['added', 'updated', 'renamed', 'from-snapshot']],
  ['undefined', ['removed', 'renamed']],
  ['started', ['booted', 'migrated', 'restored', 'from-snapshot', 'wakeup', 'recovered']],
  [
    'suspended',
    [
      'paused',
      'migrated',
      'io-error',
      'watchdog',
      'restored',
      'from-snapshot',
      'api-error',
      'postcopy',
      'postcopy-failed',
    ],
  ],
  ['resumed', ['unpaused', 'migrated', 'from-snapshot', 'postcopy', 'postcopy-failed']],
  [
    'stopped',
    ['shutdown', 'destroyed', 'crashed', 'migrated', 'saved', 'failed', 'from-snapshot', 'recreated'],
  ],
  ['shutdown', ['finished', 'guest', 'host']],
  ['pmsuspended', ['memory', 'disk']],
  ['crashed', ['panicked', 'crashloaded']],
];

/** Undefined for an event that a newer libvirt invented. */
export function lifecycleEvent(
  event: number,
  detail: number,
): { readonly event: LifecycleEvent; readonly detail: string } | undefined {
  const known = LIFECYCLE[event];
  return known && { event: known[0], detail: known[1][detail] ?? `detail-${detail}` };
}

/** virConnectDomainEventBlockJobStatus. */
export function blockJobStatus(status: number): BlockJobStatus {
  return (['completed', 'failed', 'canceled', 'ready'] as const)[status] ?? 'failed';
}

/** virConnectCloseReason. */
export function closeReason(reason: number): string {
  return ['error', 'eof', 'keepalive', 'client'][reason] ?? `reason-${reason}`;
}
