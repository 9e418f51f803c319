// Which power state an event leaves an instance in.
import type { LifecycleEvent, PowerState } from './model.js';

const AFTER: Readonly<Partial<Record<LifecycleEvent, PowerState>>> = {
  started: 'running',
  resumed: 'running',
  suspended: 'paused',
  stopped: 'shutdown',
  shutdown: 'shutdown',
  pmsuspended: 'suspended',
  crashed: 'crashed',
};

/** Undefined where the event changes no state: `defined`, `undefined`. */
export function powerStateAfter(event: LifecycleEvent, detail: string): PowerState | undefined {
  return event === 'stopped' && detail === 'saved' ? 'suspended' : AFTER[event];
}
