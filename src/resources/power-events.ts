// From a lifecycle event to the power state that an instance is in after it.
import type { DriverEvent, PowerState } from '../driver/model.js';

type Lifecycle = Extract<DriverEvent, { readonly type: 'lifecycle' }>;

/** Undefined where the event says nothing of it. */
export function powerStateAfter({ event, detail }: Lifecycle): PowerState | undefined {
  switch (event) {
    case 'started':
    case 'resumed':
      return 'running';
    case 'suspended':
      return 'paused';
    case 'pmsuspended':
      return 'suspended';
    case 'stopped':
      return detail === 'saved' ? 'suspended' : detail === 'crashed' ? 'crashed' : 'shutdown';
    case 'shutdown':
      return 'shutdown';
    case 'crashed':
      return 'crashed';
    case 'undefined':
      return 'nostate';
    case 'defined':
      return undefined;
    default:
      return event satisfies never;
  }
}
