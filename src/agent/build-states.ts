// What Nova's record of a server says before, and after, a build on this host.
import type { Fields } from './instance-record.js';

export const EVENT = 'compute__do_build_and_run_instance';

/** Task states in which a scheduler sends it. */
export const AWAITED: readonly (string | null)[] = ['scheduling', null];

export const NOWHERE: Fields = { host: null, node: null, launched_on: null };
export const FAILED: Fields = { vm_state: 'error', task_state: null, power_state: 0 };
