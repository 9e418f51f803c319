// What a running guest and its devices are told to have done, beside starting and stopping.
interface OfInstance {
  readonly sequence: number;
  readonly timestamp: number;
  readonly uuid: string;
  readonly name: string;
}

/** A disk could not be read or written. With `pause` the guest stands still, power state `paused`: mend it, then unpause. */
export interface IoErrorEvent extends OfInstance {
  readonly type: 'io-error';
  /** The hypervisor's name of the disk: `virtio-disk0`. */
  readonly alias: string;
  /** Of the image; empty where the hypervisor does not say. */
  readonly path: string;
  /** What the hypervisor did: `report`: the guest saw the error. */
  readonly action: 'none' | 'pause' | 'report' | 'unknown';
  /** `enospc`: the host has no space left; empty where the hypervisor knows none. */
  readonly reason: string;
}

/** The guest did not feed its watchdog in time. Of a reset no other event tells but `reboot`. */
export interface WatchdogEvent extends OfInstance {
  readonly type: 'watchdog';
  /** What the hypervisor did about it: the image's hw_watchdog_action. */
  readonly action: 'none' | 'pause' | 'reset' | 'poweroff' | 'shutdown' | 'debug' | 'inject-nmi' | 'unknown';
}

/** The agent in the guest has opened its channel, or closed it. */
export interface AgentEvent extends OfInstance {
  readonly type: 'agent';
  readonly state: 'connected' | 'disconnected';
  /** `domain-started`: found at the start of the domain; `channel`: the guest's doing. */
  readonly reason: 'domain-started' | 'channel' | 'unknown';
}

/** A migration or backup has ended. Copies of disks end with `block-job`. */
export interface JobCompletedEvent extends OfInstance {
  readonly type: 'job-completed';
  readonly operation: JobOperation;
  readonly success: boolean;
  readonly elapsedMs: number;
  readonly processedBytes: bigint;
  readonly totalBytes: bigint;
}

export type JobOperation =
  | 'unknown'
  | 'start'
  | 'save'
  | 'restore'
  | 'migration-in'
  | 'migration-out'
  | 'snapshot'
  | 'snapshot-revert'
  | 'dump'
  | 'backup'
  | 'snapshot-delete';

/** The guest gave memory back, or took it again. */
export interface BalloonEvent extends OfInstance {
  readonly type: 'balloon';
  readonly memoryKib: number;
}

/** The guest has written past what {@link import('./compute-driver.js').ComputeDriver.setDiskThreshold} says. Told once: set it again. */
export interface DiskThresholdEvent extends OfInstance {
  readonly type: 'disk-threshold';
  /** Name of the disk in the definition: `vda`. */
  readonly disk: string;
  readonly thresholdBytes: number;
  /** How far past it the write was that was told of. */
  readonly excessBytes: number;
}

export type GuestEvent =
  | IoErrorEvent
  | WatchdogEvent
  | AgentEvent
  | JobCompletedEvent
  | BalloonEvent
  | DiskThresholdEvent;
