// What a reporter needs of a node.
import type { ComputeDriver } from '../driver/compute-driver.js';
import type { DriverEvent } from '../driver/model.js';
import type { ComputeService } from './compute-service.js';
import type { InstanceReport } from './report.js';
import type { SinkLog } from './sink.js';
import type { ResourceTracker } from './tracker.js';

export interface ReportSource {
  readonly nodeUuid: string;
  readonly driver: Pick<
    ComputeDriver,
    'capabilities' | 'getAvailableResource' | 'getInventory' | 'getInstancesUsage' | 'listInstances'
  >;
  readonly tracker: ResourceTracker;
  readonly service: ComputeService;
  /** Those the node knows, just now. */
  instances(): Iterable<ReportedInstance>;
  /** A change, as it happens; any other type is a reason to look. */
  events(options: { readonly signal: AbortSignal }): AsyncIterable<ReportedEvent>;
  readonly log: SinkLog;
}

export type ReportedInstance = Pick<
  InstanceReport,
  'uuid' | 'name' | 'displayName' | 'projectId' | 'userId' | 'task'
>;

export type ReportedEvent =
  | DriverEvent
  | {
      readonly type:
        | 'launched'
        | 'terminated'
        | 'step'
        | 'recovered'
        | 'launch-failed'
        | 'resized'
        | 'resize-confirmed'
        | 'resize-reverted'
        | 'power-sync';
    };
