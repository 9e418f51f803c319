// Nova's vm_state of an instance, and what is refused in some of them.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta, Instance, PowerState } from '../driver/model.js';
import type { Shelved } from './change.js';
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
  readonly shelved: Shelved | undefined;
}

export function vmState({ phase, rescueImage, shelved }: Stateful, powerState: PowerState): VmState {
  if (phase === 'launching') return 'building';
  if (phase === 'broken') return 'error';
  if (shelved) return shelved.offloaded ? 'shelved_offloaded' : 'shelved';
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
  'shelve',
  'shelveOffload',
  'attachVolume',
  'detachVolume',
  'extendVolume',
  'swapVolume',
  'attachInterface',
  'detachInterface',
]);

const WHILE_SHELVED: ReadonlySet<string> = new Set(['shelve', 'shelveOffload', 'unshelve']);

/** Throws `INVALID_STATE`. */
export function refuseInState(known: Stateful, task: string): void {
  const { instance, rescueImage, shelved } = known;
  const rescued = rescueImage !== undefined && NOT_WHILE_RESCUED.has(task);
  if (!rescued && !(shelved && !WHILE_SHELVED.has(task))) return;
  const [state, remedy] = shelved ? ['shelved', 'unshelve'] : ['rescued', 'unrescue'];
  throw new ComputeError(
    'INVALID_STATE',
    `${task}: instance ${instance.uuid} is ${state}; ${remedy} it first`,
    { operation: task, instanceUuid: instance.uuid, details: { vmState: vmState(known, 'shutdown') } },
  );
}
