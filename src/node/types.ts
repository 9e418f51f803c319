// What an agent passes to and gets from a ComputeNode.
import type { SpawnProgress, SpawnStep } from '../driver/compute-driver.js';
import type { DriverEvent, Flavor, ImageMeta, InstanceInfo, PowerState } from '../driver/model.js';

/** Where log lines go; console, pino and the like fit. Default: node:util debuglog('node-compute'). */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface ComputeNodeOptions {
  /** Name in the driver registry. Default `libvirt.LibvirtDriver`. */
  readonly driver?: string;
  /** Passed to the driver as they are, with `instancesPath` and `logger` added. */
  readonly driverOptions?: Readonly<Record<string, unknown>>;
  /** Default `/var/lib/node-compute/instances`. One ComputeNode at a time: a second is refused with HOST_LOCKED. */
  readonly instancesPath?: string;
  /** Nova's initial ratios: cpu 4, memory 1, disk 1. */
  readonly allocationRatios?: { readonly cpu?: number; readonly memory?: number; readonly disk?: number };
  /** Held back for the host. Default: 512 MiB of memory. */
  readonly reserved?: { readonly memoryMb?: number; readonly vcpus?: number; readonly diskGb?: number };
  /** Launches under way at once; more wait their turn. Default 10, Nova's max_concurrent_builds. */
  readonly maxConcurrentLaunches?: number;
  /**
   * At open, start again what ran when its host, or the node, went down and does not run now. Default false, Nova's
   * resume_guests_state_on_host_boot.
   */
  readonly resumeGuestsOnHostBoot?: boolean;
  readonly logger?: Logger;
}

/** A wish for one network interface; what is missing is chosen. */
export interface NetworkRequest {
  /** UUID of the port; random by default. */
  readonly portId?: string;
  /** Locally administered `fa:16:3e:..` by default, as Neutron's. */
  readonly mac?: string;
  /** Default `br-ncompute`. */
  readonly bridge?: string;
  readonly mtu?: number;
}

export interface LaunchRequest {
  /** Random (version 4) by default. */
  readonly uuid?: string;
  readonly name: string;
  readonly flavor: Pick<Flavor, 'vcpus' | 'memoryMb'> & Partial<Flavor>;
  readonly image: Pick<ImageMeta, 'id' | 'diskFormat' | 'source'> & Partial<ImageMeta>;
  /** Default none. */
  readonly networks?: readonly NetworkRequest[];
  readonly projectId?: string;
  readonly userId?: string;
}

/** The four steps of a launch, as the log shows them. */
export type LaunchStep = 'claim' | 'image' | 'definition' | 'start';

export interface LaunchProgress extends Omit<SpawnProgress, 'step'> {
  readonly step: LaunchStep;
}

export interface LaunchOptions {
  readonly signal?: AbortSignal;
  /** For the whole launch, download included. Default 600000 (ten minutes). */
  readonly timeoutMs?: number;
  readonly onProgress?: (progress: LaunchProgress) => void;
}

export interface StepTiming {
  readonly step: LaunchStep;
  readonly milliseconds: number;
}

export interface OperationOptions {
  readonly signal?: AbortSignal;
  /** The wait for operations before it on the same instance included. Default 300000 (five minutes). */
  readonly timeoutMs?: number;
}

export interface ShutdownOptions extends OperationOptions {
  /** Milliseconds the guest is given to shut itself down before the plug is pulled; 0 pulls it at once. Default 60000, Nova's. */
  readonly shutdownTimeoutMs?: number;
  /** The request to the guest is repeated after this many milliseconds. Default 10000. */
  readonly retryIntervalMs?: number;
}

export interface RebootNodeOptions extends OperationOptions {
  /** Soft: milliseconds the guest is given before the reboot becomes a hard one. Default 120000, Nova's. */
  readonly shutdownTimeoutMs?: number;
}

export interface ConsoleOptions extends OperationOptions {
  /** Default 102400, as Nova. */
  readonly maxBytes?: number;
}

/** What a node tells of one instance. */
export interface InstanceView {
  readonly uuid: string;
  readonly name: string;
  readonly displayName: string;
  readonly powerState: PowerState;
  /** What the node is doing with it just now, undefined when nothing. */
  readonly task: string | undefined;
  readonly flavor: Flavor;
  readonly imageId: string;
  readonly macs: readonly string[];
  readonly createdAt: string;
}

export interface LaunchResult {
  readonly instance: InstanceView;
  readonly info: InstanceInfo;
  readonly steps: readonly StepTiming[];
  readonly totalMs: number;
  readonly imageCache: 'hit' | 'fetched' | 'joined';
}

/** What start-up found of an earlier process and did about it. */
export interface Recovery {
  readonly uuid: string;
  /**
   * `adopted`: it stands as it was; `rolled-back`: a half-made one, removed; `removed`: a half-terminated one, removed;
   * `failed`: it could not be removed, terminate() tries again; `left`: a domain or directory without a journal of ours,
   * not touched.
   */
  readonly action: 'adopted' | 'rolled-back' | 'removed' | 'failed' | 'left';
  readonly reason: string;
}

export type NodeEvent =
  | DriverEvent
  | {
      readonly type: 'step';
      readonly timestamp: number;
      readonly uuid: string;
      readonly step: LaunchStep;
      readonly milliseconds: number;
    }
  | { readonly type: 'launched' | 'terminated'; readonly timestamp: number; readonly uuid: string }
  | { readonly type: 'recovered'; readonly timestamp: number; readonly recovery: Recovery };

export type { NodeReport, ResourceUsage } from '../resources/types.js';
export type { SpawnStep };
