// What an agent passes to and gets from a ComputeNode.
import type { CacheOutcome, SnapshotOptions, SpawnProgress, SpawnStep } from '../driver/compute-driver.js';
import type { ConfigDriveFormat, ConfigDriveKey } from '../driver/config-drive.js';
import type { ErrorCode } from '../driver/errors.js';
import type {
  DriverEvent,
  Flavor,
  ImageMeta,
  InstanceInfo,
  PowerState,
  VifAddress,
} from '../driver/model.js';
import type { AttachedVolume } from '../driver/volume.js';
import type { ResizePhase } from './pending-resize.js';

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
  /** MiB claimed for each instance beside its flavor's memory: what the emulator takes. Default 0, as Nova. */
  readonly memoryOverheadMb?: number;
  /** Host CPUs for vCPUs that ask for one each (`hw:cpu_policy=dedicated`), Nova's cpu_dedicated_set. Default none. */
  readonly dedicatedCpus?: readonly number[];
  /**
   * So many launches that fail one after another through the host's own fault disable its service; 0: none do. Default 10,
   * Nova's consecutive_build_service_disable_threshold.
   */
  readonly buildFailureThreshold?: number;
  /** Milliseconds until a service that disabled itself so offers itself again. Default 600000 (ten minutes). */
  readonly buildFailureHoldMs?: number;
  /** Launches under way at once; more wait their turn. Default 10, Nova's max_concurrent_builds. */
  readonly maxConcurrentLaunches?: number;
  /**
   * Milliseconds between two passes of ageing over the image cache, give or take a tenth; 0: on demand only. Default
   * 2400000 (40 minutes), Nova's image_cache_manager_interval.
   */
  readonly imageCacheIntervalMs?: number;
  /**
   * A resize that nobody has confirmed or reverted for so many milliseconds is confirmed, within a minute; 0: never.
   * Default 0, Nova's resize_confirm_window.
   */
  readonly resizeConfirmWindowMs?: number;
  /** Every instance launched gets a config drive, Nova's force_config_drive. Default false. */
  readonly forceConfigDrive?: boolean;
  /**
   * At open, start again what ran when its host, or the node, went down and does not run now. Default false, Nova's
   * resume_guests_state_on_host_boot.
   */
  readonly resumeGuestsOnHostBoot?: boolean;
  /**
   * Milliseconds between two comparisons of the power states with what the events said, give or take a tenth; 0: only where
   * events were lost. Default 600000 (ten minutes), Nova's sync_power_state_interval.
   */
  readonly powerSyncIntervalMs?: number;
  readonly logger?: Logger;
}

/** A wish for one network interface; what is missing is chosen. */
export interface NetworkRequest {
  /** UUID of the port; random by default. */
  readonly portId?: string;
  /** Locally administered `fa:16:3e:..` by default, as Neutron's. */
  readonly mac?: string;
  /** Default `brq` and the first 11 characters of {@link networkId}, as Neutron's; without one `br-ncompute`. */
  readonly bridge?: string;
  /** UUID of the network. */
  readonly networkId?: string;
  /** Of bridge, sub-interface, tap and guest. Default the kernel's 1500. */
  readonly mtu?: number;
  /** `bridge` is one of Open vSwitch's, which must stand; the port is known there by its id. Default a bridge of Linux. */
  readonly virtualPort?: 'openvswitch';
  /** Interface of the host that joins the bridge to a physical network; needs a `networkId` or `bridge`. Default none. */
  readonly physicalInterface?: string;
  /** Which VLAN of it, 1 to 4094; default untagged. */
  readonly vlan?: number;
  /** Join that interface although the host has IP addresses on it, by which it is then not reached. Default false. */
  readonly evenWithAddresses?: boolean;
  /** libvirt's network filter against spoofing, such as `clean-traffic`; `UNSUPPORTED` where the driver has none. Default the driver's. */
  readonly filter?: string;
  /** Fixed addresses, which the guest reads on its config drive; default: it asks by DHCP. At most 16. */
  readonly addresses?: readonly VifAddress[];
  /** Name servers for the config drive, at most 8. */
  readonly dnsServers?: readonly string[];
}

/** What the guest reads at its first boot. Kept on the drive alone: in no journal, no log and no event. */
export interface ConfigDriveRequest {
  /** Default `openstack`. */
  readonly format?: ConfigDriveFormat;
  /** Default: made of the instance's name. */
  readonly hostname?: string;
  readonly availabilityZone?: string;
  /** At most 128 entries of 255 characters. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Base64, at most 65535 characters, as Nova takes it. */
  readonly userData?: string;
  /** Public keys for SSH, at most 16. */
  readonly keys?: readonly ConfigDriveKey[];
  /** Nova's personality, at most 16 files; `contents` is base64, at most 64 KiB decoded. Not with `nocloud`. */
  readonly files?: readonly { readonly path: string; readonly contents: string }[];
  /** At most 255 characters. Not with `nocloud`. */
  readonly adminPassword?: string;
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
  /** Default none, save where the image or the node demands one. `{}` gives one that tells of the instance alone. */
  readonly configDrive?: ConfigDriveRequest;
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
  /**
   * Where given, the guest stands still from its start until this resolves: its taps are there, and may be made ready. Its
   * rejection is that of the launch, which is undone.
   */
  readonly beforeRun?: () => Promise<void>;
}

export interface StepTiming {
  readonly step: LaunchStep;
  readonly milliseconds: number;
}

export interface CacheImageNodeOptions {
  readonly signal?: AbortSignal;
  /** Default 600000 (ten minutes). */
  readonly timeoutMs?: number;
  readonly onProgress?: (progress: Omit<SpawnProgress, 'step'>) => void;
}

export interface OperationOptions {
  readonly signal?: AbortSignal;
  /** The wait for operations before it on the same instance included. Default 300000 (five minutes). */
  readonly timeoutMs?: number;
  /**
   * False: where another operation on the same instance is under way it rejects with `INSTANCE_BUSY` in place of a wait, and
   * terminate does so in place of cutting that short. Default true.
   */
  readonly wait?: boolean;
}

/** Default time limit: one hour. */
export interface SnapshotNodeOptions
  extends OperationOptions,
    Pick<SnapshotOptions, 'format' | 'compression' | 'onProgress'> {}

export interface AttachVolumeOptions extends OperationOptions {
  /** `vdb` ...; the first free name by default. */
  readonly device?: string;
}

export interface ShutdownOptions extends OperationOptions {
  /** Milliseconds the guest is given to shut itself down before the plug is pulled; 0 pulls it at once. Default 60000, Nova's. */
  readonly shutdownTimeoutMs?: number;
  /** The request to the guest is repeated after this many milliseconds. Default 10000. */
  readonly retryIntervalMs?: number;
}

export interface ResizeOptions extends OperationOptions {
  /** Do not wait for {@link ComputeNode.confirmResize}. Default false. */
  readonly autoConfirm?: boolean;
  /** As of {@link ShutdownOptions}. */
  readonly shutdownTimeoutMs?: number;
  readonly retryIntervalMs?: number;
}

/** What is left out stays as it is. */
export interface LiveResizeRequest {
  readonly memoryMb?: number;
  readonly vcpus?: number;
}

export interface RebootNodeOptions extends OperationOptions {
  /** Soft: milliseconds the guest is given before the reboot becomes a hard one. Default 120000, Nova's. */
  readonly shutdownTimeoutMs?: number;
}

export interface RescueNodeOptions extends OperationOptions {
  /** What it boots from. Default: the image it was launched from. */
  readonly image?: LaunchRequest['image'];
  /**
   * What its drive tells the rescue system, in the format it has; `INVALID_ARGUMENT` where it has none. Default: the drive
   * that it has, as always with Nova's stable device rescue.
   */
  readonly configDrive?: ConfigDriveRequest;
  /** Milliseconds the guest is given to shut itself down before the plug is pulled; 0 pulls it at once. Default 60000, Nova's. */
  readonly shutdownTimeoutMs?: number;
  readonly onProgress?: (progress: SpawnProgress) => void;
}

export interface RebuildRequest {
  readonly image: LaunchRequest['image'];
  /** Its new display name. Default: the one it has. */
  readonly name?: string;
  /** What a new config drive tells. Without it a drive that it has stays as it is, with the keys and user data on it. */
  readonly configDrive?: ConfigDriveRequest;
  /** Its ephemeral disk stays as it is, Nova's preserve_ephemeral. Default false. */
  readonly preserveEphemeral?: boolean;
}

export interface RebuildNodeOptions extends OperationOptions {
  /** Milliseconds the guest is given to shut itself down before the plug is pulled; 0 pulls it at once. Default 60000, Nova's. */
  readonly shutdownTimeoutMs?: number;
  readonly onProgress?: (progress: SpawnProgress) => void;
}

export interface ShelveOptions extends OperationOptions {
  /**
   * The image that its disk becomes, and where it is to be had again. Default: a new one in Glance, qcow2, with the
   * properties of the image it was launched from.
   */
  readonly image?: LaunchRequest['image'];
  /** Take it off this host at once, as `shelveOffload` does. Default false. */
  readonly offload?: boolean;
  /** Milliseconds the guest is given to shut itself down before the plug is pulled; 0 pulls it at once. Default 60000, Nova's. */
  readonly shutdownTimeoutMs?: number;
}

export interface UnshelveOptions extends OperationOptions {
  /** What its config drive tells, where it was taken off the host: what was on it is stored nowhere. */
  readonly configDrive?: ConfigDriveRequest;
  readonly onProgress?: (progress: SpawnProgress) => void;
}

export interface ConsoleOptions extends OperationOptions {
  /** Default 102400, as Nova. */
  readonly maxBytes?: number;
}

/** Nova's vm_state. What the node is doing just now is {@link InstanceView.task}. */
export type VmState =
  | 'building'
  | 'active'
  | 'paused'
  | 'suspended'
  | 'stopped'
  | 'resized'
  | 'rescued'
  | 'shelved'
  | 'shelved_offloaded'
  | 'error';
export interface ResizeView {
  /** `verify` is Nova's VERIFY_RESIZE; `reverting`, `confirming` and `live` also where that failed and can be tried again. */
  readonly phase: ResizePhase;
  readonly oldFlavor: Flavor;
  readonly newFlavor: Flavor;
  /** Since when it waits: ISO 8601, UTC. */
  readonly finishedAt: string | undefined;
}

/** What a node tells of one instance. */
export interface InstanceView {
  readonly uuid: string;
  readonly name: string;
  readonly displayName: string;
  readonly powerState: PowerState;
  readonly vmState: VmState;
  /** What the node is doing with it just now, undefined when nothing. */
  readonly task: string | undefined;
  /** Since when, ISO 8601 in UTC. */
  readonly taskSince: string | undefined;
  readonly flavor: Flavor;
  /** Undefined while there is none that waits to be confirmed or reverted, or is under way. */
  readonly resize: ResizeView | undefined;
  readonly imageId: string;
  readonly macs: readonly string[];
  readonly volumes: readonly AttachedVolume[];
  readonly createdAt: string;
}

export interface LaunchResult {
  readonly instance: InstanceView;
  readonly info: InstanceInfo;
  readonly steps: readonly StepTiming[];
  readonly totalMs: number;
  readonly imageCache: CacheOutcome;
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
  | {
      /** `resized` waits to be confirmed or reverted. */
      readonly type: 'resized' | 'resize-confirmed' | 'resize-reverted';
      readonly timestamp: number;
      readonly uuid: string;
    }
  | {
      /** Undone; what it failed with. */
      readonly type: 'launch-failed';
      readonly timestamp: number;
      readonly uuid: string;
      readonly code: ErrorCode;
    }
  | { readonly type: 'launched' | 'terminated'; readonly timestamp: number; readonly uuid: string }
  /** Found to be another than the events had said. It is left as it is, and taken down as that. */
  | {
      readonly type: 'power-sync';
      readonly timestamp: number;
      readonly uuid: string;
      readonly before: PowerState;
      readonly after: PowerState;
    }
  | { readonly type: 'recovered'; readonly timestamp: number; readonly recovery: Recovery };

export type { NodeReport, ResourceUsage } from '../resources/types.js';
export type { ResizePhase, SpawnStep };
