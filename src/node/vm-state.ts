// Nova's vm_state of an instance, and what is refused in some of them.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta, Instance, PowerState } from '../driver/model.js';
import type { VmState } from './types.js';

const BY_POWER: Readonly<Record<PowerState, VmState>> = {
  running: 'active',
  paused: 'paused',
  suspended: 'suspended',
  shutdown: 'stopped',
  // As Nova's power sync takes them: it is to be started again.
  crashed: 'stopped',
  nostate: 'stopped',
};

interface Stateful {
  readonly instance: Instance;
  readonly phase: string;
  readonly rescueImage: ImageMeta | undefined;
}

export function vmState({ phase, rescueImage }: Stateful, powerState: PowerState): VmState {
  if (phase === 'launching') return 'building';
  if (phase === 'broken') return 'error';
  return rescueImage === undefined ? BY_POWER[powerState] : 'rescued';
}

/** What Nova refuses while an instance is rescued; it lets itself be stopped, started and rebooted here, and stays so. */
const NOT_WHILE_RESCUED: ReadonlySet<string> = new Set([
  'pause',
  'suspend',
  'snapshot',
  'resize',
  'migrate',
  'rebuild',
  'attachVolume',
  'detachVolume',
  'extendVolume',
  'swapVolume',
  'attachInterface',
  'detachInterface',
]);

/** Throws `INVALID_STATE`. */
export function refuseInState({ instance, rescueImage }: Stateful, task: string): void {
  if (rescueImage === undefined || !NOT_WHILE_RESCUED.has(task)) return;
  throw new ComputeError(
    'INVALID_STATE',
    `${task}: instance ${instance.uuid} is rescued; unrescue it first`,
    { operation: task, instanceUuid: instance.uuid, details: { vmState: 'rescued' } },
  );
}
