// The parts of a node that its operations share.
import type { ComputeDriver } from '../driver/compute-driver.js';
import type { ComputeService } from '../resources/compute-service.js';
import type { ResourceTracker } from '../resources/tracker.js';
import type { Calls } from './calls.js';
import type { InstanceIds } from './instance-ids.js';
import type { InstanceLocks } from './instance-lock.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeFiles } from './node-files.js';
import type { Turnstile } from './turns.js';
import type { Logger, NodeEvent } from './types.js';

export interface NodeContext {
  readonly driver: ComputeDriver;
  readonly tracker: ResourceTracker;
  readonly service: ComputeService;
  readonly files: NodeFiles;
  readonly ids: InstanceIds;
  readonly locks: InstanceLocks;
  readonly calls: Calls;
  /** Launches that may be past their claim at the same time. */
  readonly launches: Turnstile;
  readonly instances: Map<string, KnownInstance>;
  readonly forceConfigDrive: boolean;
  readonly log: Logger;
  readonly publish: (event: NodeEvent) => void;
}
