// The contract between a compute node and a hypervisor: Nova's nova/virt/driver.py in TypeScript.
import type { Duplex } from 'node:stream';
import type { ConfigDriveContent } from './config-drive.js';
import type { ConsoleEndpoint, Screenshot } from './console.js';
import type { Diagnostics } from './diagnostics.js';
import type { ImageCacheMetrics } from './image-cache.js';
import type { NodeInventory } from './inventory.js';
import type {
  AvailableResource,
  DriverEvent,
  ImageMeta,
  Instance,
  InstanceInfo,
  InstanceSummary,
  Vif,
} from './model.js';
import type { SnapshotProgress, SnapshotResult, SnapshotTarget } from './snapshot.js';
import type { InstanceUsage, UsageGroup } from './usage.js';
import type { AttachedVolume, VolumeConnection } from './volume.js';

/** Accepted by every long call. */
export interface CallOptions {
  /** Aborts the call: it rejects with `ABORTED`, its effects are undone. */
  readonly signal?: AbortSignal | undefined;
  /** Deadline in milliseconds; the call rejects with `TIMEOUT`. Finite by default, each method says its own. */
  readonly timeoutMs?: number | undefined;
}

/** The parts of a launch that a driver does, in order: mission steps 2, 3 and 4. */
export type SpawnStep = 'image' | 'definition' | 'network' | 'start';

export interface SpawnProgress {
  readonly step: SpawnStep;
  /** What is being done, for people: `downloading`, `converting`, `overlay` ... */
  readonly activity: string;
  readonly doneBytes?: number;
  readonly totalBytes?: number;
}

export interface SpawnOptions extends CallOptions {
  /** Called when a step begins, before its first effect: the caller's journal. Awaited. */
  readonly onStep?: ((step: SpawnStep) => void | Promise<void>) | undefined;
  readonly onProgress?: ((progress: SpawnProgress) => void) | undefined;
  /** What is on the drive of an instance that has one ({@link Instance.configDrive}), besides what the instance says itself. */
  readonly configDrive?: ConfigDriveContent | undefined;
  /**
   * Where given, the guest is started paused and runs when this resolves: until then its taps are there, and it has done
   * nothing. Its rejection is that of the spawn. Called once, in the step `start`; Nova's vif_plugging_timeout.
   */
  readonly beforeRun?: (() => Promise<void>) | undefined;
}

export interface CacheImageOptions extends CallOptions {
  readonly onProgress?: ((progress: Omit<SpawnProgress, 'step'>) => void) | undefined;
}

export interface UsageOptions extends CallOptions {
  /** Default `cpu` and `memory`; the state is always told. */
  readonly groups?: readonly UsageGroup[] | undefined;
}

/** `hit`: the base stood in the cache, `fetched`: this call fetched it, `joined`: it waited for another's fetch. */
export type CacheOutcome = 'hit' | 'fetched' | 'joined';

export interface SpawnResult {
  /** Milliseconds spent in each step. */
  readonly stepsMs: Readonly<Record<SpawnStep, number>>;
  readonly imageCache: CacheOutcome;
  readonly info: InstanceInfo;
}

export interface SnapshotOptions extends CallOptions {
  /** Default `qcow2`. */
  readonly format?: 'qcow2' | 'raw' | undefined;
  /** qcow2 only. Default `zstd`, which QEMU reads since 5.1; `zlib` is for readers that are older. */
  readonly compression?: 'zlib' | 'zstd' | 'none' | undefined;
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined;
}

export type RebootType = 'soft' | 'hard';

export interface PowerOffOptions extends CallOptions {
  /** Milliseconds the guest is given to shut itself down; 0 (the default) pulls the plug at once. */
  readonly shutdownTimeoutMs?: number | undefined;
  /** The ACPI request is repeated after this many milliseconds. Default 10000. */
  readonly retryIntervalMs?: number | undefined;
}

export interface RebootOptions extends CallOptions {
  /** Soft: milliseconds the guest is given to shut itself down before the reboot becomes a hard one. Default 120000, Nova's. */
  readonly shutdownTimeoutMs?: number | undefined;
}

export interface FinishMigrationOptions extends CallOptions {
  /** Start it then. Default true. */
  readonly powerOn?: boolean | undefined;
}

export interface OpenConsoleOptions extends CallOptions {
  /** Take it from whoever has it open: that stream ends. Default false. */
  readonly force?: boolean | undefined;
}

export interface RescueOptions extends CallOptions {
  /**
   * What the drive tells in place of the instance's own while it is rescued ({@link Instance.configDrive}). Without it, or
   * where the image has its disk last, it keeps that one.
   */
  readonly configDrive?: ConfigDriveContent | undefined;
  /** Milliseconds the guest is given to shut itself down; 0 (the default) pulls the plug at once. */
  readonly shutdownTimeoutMs?: number | undefined;
  readonly onProgress?: SpawnOptions['onProgress'];
}

export interface UnrescueOptions extends CallOptions {
  /** Start it then. Default true. */
  readonly powerOn?: boolean | undefined;
}

export interface RebuildOptions extends Omit<SpawnOptions, 'beforeRun'> {
  /** Milliseconds the guest is given to shut itself down; 0 (the default) pulls the plug at once. */
  readonly shutdownTimeoutMs?: number | undefined;
  /** Its ephemeral disk stays as it is. Default false. */
  readonly preserveEphemeral?: boolean | undefined;
}

/** What {@link ComputeDriver.destroy} removes beside the domain. */
export interface DestroyOptions extends CallOptions {
  /** Remove `<instances_path>/<uuid>`. Default true. */
  readonly destroyDisks?: boolean | undefined;
}

/**
 * One flag per group of methods. A method whose flag is false rejects with `UNSUPPORTED`.
 * Kept complete by a type: every flag must be given.
 */
export interface DriverCapabilities {
  readonly pause: boolean;
  readonly softReboot: boolean;
  readonly consoleOutput: boolean;
  readonly suspend: boolean;
  readonly rescue: boolean;
  readonly rebuild: boolean;
  readonly snapshot: boolean;
  readonly resize: boolean;
  readonly liveResize: boolean;
  readonly liveMigration: boolean;
  readonly attachVolume: boolean;
  readonly extendVolume: boolean;
  readonly swapVolume: boolean;
  readonly attachInterface: boolean;
  readonly diagnostics: boolean;
  readonly guestAgent: boolean;
  readonly crashDump: boolean;
  readonly resumeOnHostBoot: boolean;
  readonly remoteConsole: boolean;
  readonly consoleStream: boolean;
  readonly imageCache: boolean;
  readonly diskThreshold: boolean;
  readonly plugVifs: boolean;
  /** {@link Vif.filter} is obeyed; where not, an instance that asks for one is refused with `UNSUPPORTED`. */
  readonly vifFilter: boolean;
  readonly usage: boolean;
}

/**
 * What a hypervisor implements. All methods are safe to call at the same time for different instances; calls for one
 * instance are put in order by the caller (ComputeNode does). Every rejection is a ComputeError.
 */
export interface ComputeDriver extends AsyncDisposable {
  /** `libvirt.LibvirtDriver`, `fake.FakeDriver`, or a third party's own name. */
  readonly name: string;
  readonly capabilities: DriverCapabilities;

  /** Connects and makes ready; called once, before anything else. Nova: init_host. */
  initHost(options?: CallOptions): Promise<void>;
  /** Lets go of the hypervisor; instances go on running. Idempotent. Nova: cleanup_host. */
  close(): Promise<void>;

  /** Image file, definition, network, start. Resolves when the hypervisor has said that it runs; on any failure nothing is left. */
  spawn(instance: Instance, options?: SpawnOptions): Promise<SpawnResult>;
  /** Stops it and removes everything of it. Idempotent: an unknown instance is success. Nova: destroy + cleanup. */
  destroy(instance: Pick<Instance, 'uuid' | 'vifs'>, options?: DestroyOptions): Promise<void>;

  /** Stopped already is success. */
  powerOff(uuid: string, options?: PowerOffOptions): Promise<void>;
  /**
   * Running already is success. A domain that the hypervisor has lost is made again as long as its disk is there, as
   * Nova's power_on does; else `INSTANCE_NOT_FOUND`.
   */
  powerOn(instance: Instance, options?: CallOptions): Promise<void>;
  /** Soft asks the guest and falls back to hard; hard also starts a stopped instance. It runs when this resolves. */
  reboot(instance: Instance, type: RebootType, options?: RebootOptions): Promise<void>;
  /** Paused already is success; `INVALID_STATE` where it does not run. */
  pause(uuid: string, options?: CallOptions): Promise<void>;
  /** Running already is success; `INVALID_STATE` where it is stopped. */
  unpause(uuid: string, options?: CallOptions): Promise<void>;

  /** Rejects with `INSTANCE_NOT_FOUND` where the hypervisor does not know it. */
  getInfo(uuid: string, options?: CallOptions): Promise<InstanceInfo>;
  instanceExists(uuid: string, options?: CallOptions): Promise<boolean>;
  /** Those this library made; foreign domains of a shared libvirtd are not listed. */
  listInstances(options?: CallOptions): Promise<InstanceSummary[]>;
  getAvailableResource(options?: CallOptions): Promise<AvailableResource>;
  /** The last `maxBytes` (default 102400, as Nova) of what the guest wrote to its serial console. */
  getConsoleOutput(uuid: string, options?: CallOptions & { readonly maxBytes?: number }): Promise<Uint8Array>;
  /** From now on, in order. Ends when the driver is closed or the consumer returns. Bounded: see the `gap` event. */
  events(options?: { readonly signal?: AbortSignal }): AsyncIterableIterator<DriverEvent>;

  /**
   * Writes its memory to disk and stops it; `suspended` then. Suspended already is success; `INVALID_STATE` where it does
   * not run. Aborted or failed, it runs on.
   */
  suspend(uuid: string, options?: CallOptions): Promise<void>;
  /**
   * Running already is success; `INVALID_STATE` where it is not suspended. Memory that cannot be loaded is discarded with
   * the event `saved-state-lost`, and the instance boots from its disk.
   */
  resume(instance: Instance, options?: CallOptions): Promise<void>;
  /** For an instance that ran when its host went down: starts or resumes it, or makes it again. Running and paused are success. */
  resumeStateOnHostBoot(instance: Instance, options?: CallOptions): Promise<void>;
  /** An NMI, upon which a guest that is set up so dumps its memory. `INVALID_STATE` where it does not run. */
  triggerCrashDump(uuid: string, options?: CallOptions): Promise<void>;
  /**
   * Stops it and starts it from a disk of its own made of `image`, its own disks behind that one: the root disk second. With
   * the image properties `hw_rescue_device` or `hw_rescue_bus` that disk is the last one, Nova's stable device rescue.
   * It stays so over powerOff, powerOn and reboot, and its devices cannot be changed. On failure and abort it is as it was,
   * and runs where it ran. `INVALID_STATE` where it is paused, suspended or rescued. Default deadline: ten minutes.
   */
  rescue(instance: Instance, image: ImageMeta, options?: RescueOptions): Promise<void>;
  /**
   * Stops it, gives it back the definition it had and removes the rescue disk; also what a rescue that was cut short by a
   * crash left. Not rescued is success. The signal is heeded before the first effect only.
   */
  unrescue(instance: Instance, options?: UnrescueOptions): Promise<void>;
  /**
   * New disks from `image`, and a new config drive where `configDrive` is given; uuid, flavor, interfaces and volumes stay.
   * `instance` is as it shall be, but for its image. It runs again where it ran. The new disks are made beside the old ones;
   * step `definition` puts them in their place: on failure and abort before that it is as it was, after it the signal is
   * not heeded any more. `INVALID_STATE` where it is paused, suspended or rescued. Default deadline: ten minutes.
   */
  rebuild(instance: Instance, image: ImageMeta, options?: RebuildOptions): Promise<SpawnResult>;
  /**
   * After a crash within a rebuild. `new`, where step `definition` had been told of: the new disks take their place.
   * `old`: they are removed. `instance` is as it is then. Neither starts it. Idempotent.
   */
  settleRebuild(instance: Instance, outcome: 'old' | 'new', options?: CallOptions): Promise<void>;
  /**
   * Makes an image of its root disk, whole and without the base it stands on, while it runs on; volumes, the ephemeral and the
   * swap disk are not in it. On failure and abort it is as before, and nothing is left. Where its image says
   * `hw_qemu_guest_agent`, the file systems in the guest are frozen for the moment that the image shows; with
   * `os_require_quiesce` it is a failure where they cannot be. Default limit: one hour. Rejects with `INSTANCE_BUSY` while
   * another snapshot or a copy of that disk is under way, `NO_SPACE`, `IMAGE_UPLOAD_FAILED`, `IMAGE_CHECKSUM_MISMATCH`,
   * `IMAGE_NOT_FOUND`, `UNAUTHORIZED`, `AGENT_UNAVAILABLE`, `AGENT_FAILED`. Nova: snapshot.
   */
  snapshot(instance: Instance, target: SnapshotTarget, options?: SnapshotOptions): Promise<SnapshotResult>;
  /**
   * Removes what a process that died left of a snapshot: the copy under way, temporary files, a frozen guest, an image record that
   * `target` says it made. Nothing there is success.
   */
  undoSnapshot(instance: Instance, target: SnapshotTarget, options?: CallOptions): Promise<void>;
  /**
   * Begins a resize on this host: checks all that can be refused of the flavor, stops the instance and keeps its disks
   * that will change. Rejects with `FLAVOR_DISK_TOO_SMALL` for a root or ephemeral disk that would shrink, `DEVICE_IN_USE`
   * where a volume has the name of a disk to come, `INVALID_STATE` where it is paused, suspended or resized already. On
   * failure and abort it is as before, and runs if it did. Default limit: ten minutes and what the guest is given.
   */
  migrateDiskAndPowerOff(
    instance: Instance,
    flavor: Instance['flavor'],
    options?: PowerOffOptions,
  ): Promise<void>;
  /**
   * Goes on with it: `instance` has the new flavor. Larger disks, the new definition, start. A failure or an abort is
   * taken back by {@link finishRevertMigration}. Default limit: ten minutes.
   */
  finishMigration(instance: Instance, options?: FinishMigrationOptions): Promise<void>;
  /** Ends it: what was kept goes. Nothing kept is success. `instance` has the new flavor. */
  confirmMigration(instance: Instance, options?: CallOptions): Promise<void>;
  /**
   * Takes it back from wherever it is, also where a process died in the middle: old disks, old definition. Where nothing
   * was begun, it is only started where it does not run. `instance` has the old flavor. May be called again.
   */
  finishRevertMigration(instance: Instance, options?: FinishMigrationOptions): Promise<void>;
  /**
   * Memory and vCPUs of a running instance become those of the flavor, which differs in nothing else, within what its
   * domain was started with. Resolves when the guest has followed. Rejects with `LIVE_RESIZE_FAILED` where it does not,
   * `INVALID_STATE` where it does not run or the domain has no room for it; all is then as before.
   */
  liveResize(instance: Instance, flavor: Instance['flavor'], options?: CallOptions): Promise<void>;
  liveMigration(instance: Instance, destination: string, options?: CallOptions): Promise<void>;
  /**
   * Attaches a volume, to the running guest and to the definition, or at rest to the definition alone. `device` is chosen
   * where it is undefined. Attached already is success. On failure nothing is changed. Rejects with `INVALID_ARGUMENT`,
   * `DEVICE_IN_USE`, `UNSUPPORTED`. As for all methods of devices, `instance` is what it was before the call: the caller
   * keeps its `volumes` and `vifs`, and gives them to the next call. By default each has two minutes and what a guest is
   * given to let go of a device.
   */
  attachVolume(
    instance: Instance,
    volume: VolumeConnection,
    device: string | undefined,
    options?: CallOptions,
  ): Promise<AttachedVolume>;
  /**
   * Takes it out of the running guest first and then, once the guest has let go, out of the definition. Detached already
   * is success. Rejects with `DETACH_FAILED` where the guest does not let go: it is then attached as before, also after a
   * restart; `INVALID_STATE` while it is paused.
   */
  detachVolume(instance: Instance, volume: VolumeConnection, options?: CallOptions): Promise<void>;
  /**
   * Shows the guest the new size. A file is made larger, other volumes must have been already. That size already is
   * success. Rejects with `DEVICE_NOT_FOUND`, `INVALID_ARGUMENT` for less than it has.
   */
  extendVolume(
    instance: Instance,
    volume: VolumeConnection,
    sizeBytes: number,
    options?: CallOptions,
  ): Promise<void>;
  /**
   * Copies a volume of a running guest to another and goes on with that one, under the same device name. On failure and
   * abort it goes on with the first. A large one needs a longer `timeoutMs`. Rejects with `DEVICE_NOT_FOUND`, `DEVICE_IN_USE`, `INVALID_STATE` where it is stopped.
   */
  swapVolume(
    instance: Instance,
    from: VolumeConnection,
    to: VolumeConnection,
    options?: CallOptions,
  ): Promise<AttachedVolume>;
  /** As {@link attachVolume}; the bridge is made where missing. Rejects with `DEVICE_IN_USE`, `NETWORK_FAILED`. */
  attachInterface(instance: Instance, vif: Vif, options?: CallOptions): Promise<void>;
  /** As {@link detachVolume}; the bridge goes with its last user. */
  detachInterface(instance: Instance, vif: Vif, options?: CallOptions): Promise<void>;
  /**
   * Makes ready what the taps of an instance are plugged into, running or not: bridges, VLANs; a tap that is there and lost
   * its bridge gets it back. Every start does so by itself. Idempotent. Rejects with `NETWORK_FAILED`; at most two minutes.
   * Nova: plug_vifs.
   */
  plugVifs(instance: Instance, options?: CallOptions): Promise<void>;
  /** Lets go of it again, for an instance that does not run, else `INVALID_STATE`. Idempotent. Nova: unplug_vifs. */
  unplugVifs(instance: Instance, options?: CallOptions): Promise<void>;
  /** Figures of a running instance. `INVALID_STATE` where it does not run. Nova: get_instance_diagnostics. */
  getDiagnostics(uuid: string, options?: CallOptions): Promise<Diagnostics>;
  /** `INVALID_STATE` where it does not run, `UNSUPPORTED` where it has no such console; so the two after it. */
  getVncConsole(uuid: string, options?: CallOptions): Promise<ConsoleEndpoint>;
  getSpiceConsole(uuid: string, options?: CallOptions): Promise<ConsoleEndpoint>;
  getSerialConsole(uuid: string, options?: CallOptions): Promise<ConsoleEndpoint>;
  /** What the first screen shows, at most 64 MiB. `INVALID_STATE` where it does not run. */
  getScreenshot(uuid: string, options?: CallOptions): Promise<Screenshot>;
  /**
   * The first serial port, live: what the guest writes from now on, and what is typed. Ends when the guest stops or the
   * driver is closed. Signal
   * and time limit are those of opening it. `INSTANCE_BUSY` where it is open already, `INVALID_STATE` where it does not run.
   */
  openConsole(uuid: string, options?: OpenConsoleOptions): Promise<Duplex>;
  /**
   * Tells by one event `disk-threshold` when the running guest writes past that byte of the file (or device) of its disk
   * `device`, `vda`: for a thin disk, in time to make room. At once where it has already, with its next write. 0: never
   * mind. Forgotten when the guest stops and when it was told. Rejects with `INVALID_STATE` where it does not run,
   * `DEVICE_NOT_FOUND`. libvirt: virDomainSetBlockThreshold; Nova has no such call.
   */
  setDiskThreshold(uuid: string, device: string, bytes: number, options?: CallOptions): Promise<void>;
  /** Resolves when the agent in the guest has answered. As all calls below: `AGENT_UNAVAILABLE`, `AGENT_FAILED`; default limit 10 s. */
  pingAgent(uuid: string, options?: CallOptions): Promise<void>;
  /** Of the user `root`, `Administrator` where the image's os_type is windows, or `options.user`. */
  setAdminPassword(
    instance: Pick<Instance, 'uuid' | 'image'>,
    password: string,
    options?: CallOptions & { readonly user?: string },
  ): Promise<void>;
  /** Sets the guest's clock to that of the host. */
  setGuestTime(uuid: string, options?: CallOptions): Promise<void>;
  /** Flushes and freezes the guest's file systems; the number of them. Thaw them soon. Nova: quiesce. */
  quiesce(uuid: string, options?: CallOptions): Promise<number>;
  /** Not frozen is success. */
  unquiesce(uuid: string, options?: CallOptions): Promise<number>;
  /** Fetches an image for instances that come later; shares the fetches of launches. Default deadline: ten minutes. Nova: cache_image. */
  cacheImage(image: ImageMeta, options?: CacheImageOptions): Promise<CacheOutcome>;
  /** One pass of ageing over the cached images; `inUse` are the ids of images that instances of this node have. Nova: manage_image_cache. */
  manageImageCache(inUse: readonly string[], options?: CallOptions): Promise<void>;
  getImageCacheMetrics(options?: CallOptions): Promise<ImageCacheMetrics>;
  /** One call for all instances of ours, running or not. */
  getInstancesUsage(options?: UsageOptions): Promise<InstanceUsage[]>;
  /** Does not change while the host is up; cheap after the first call. */
  getInventory(options?: CallOptions): Promise<NodeInventory>;
}

type Optional = Exclude<
  {
    [K in keyof ComputeDriver]: ComputeDriver[K] extends (...args: never[]) => Promise<unknown> ? K : never;
  }[keyof ComputeDriver],
  | 'initHost'
  | 'close'
  | 'spawn'
  | 'destroy'
  | 'powerOff'
  | 'powerOn'
  | 'reboot'
  | 'getInfo'
  | 'instanceExists'
  | 'listInstances'
  | 'getAvailableResource'
>;

/** Which flag says whether a method of the contract works. What is not named here every driver has. */
export const METHOD_CAPABILITY: Readonly<Record<Optional & string, keyof DriverCapabilities>> = {
  pause: 'pause',
  unpause: 'pause',
  getConsoleOutput: 'consoleOutput',
  suspend: 'suspend',
  resume: 'suspend',
  resumeStateOnHostBoot: 'resumeOnHostBoot',
  triggerCrashDump: 'crashDump',
  rescue: 'rescue',
  unrescue: 'rescue',
  rebuild: 'rebuild',
  settleRebuild: 'rebuild',
  snapshot: 'snapshot',
  undoSnapshot: 'snapshot',
  migrateDiskAndPowerOff: 'resize',
  finishMigration: 'resize',
  confirmMigration: 'resize',
  finishRevertMigration: 'resize',
  liveResize: 'liveResize',
  liveMigration: 'liveMigration',
  attachVolume: 'attachVolume',
  detachVolume: 'attachVolume',
  extendVolume: 'extendVolume',
  swapVolume: 'swapVolume',
  attachInterface: 'attachInterface',
  detachInterface: 'attachInterface',
  plugVifs: 'plugVifs',
  unplugVifs: 'plugVifs',
  getDiagnostics: 'diagnostics',
  getVncConsole: 'remoteConsole',
  getSpiceConsole: 'remoteConsole',
  getSerialConsole: 'remoteConsole',
  getScreenshot: 'remoteConsole',
  openConsole: 'consoleStream',
  setDiskThreshold: 'diskThreshold',
  pingAgent: 'guestAgent',
  setAdminPassword: 'guestAgent',
  setGuestTime: 'guestAgent',
  quiesce: 'guestAgent',
  unquiesce: 'guestAgent',
  cacheImage: 'imageCache',
  manageImageCache: 'imageCache',
  getImageCacheMetrics: 'imageCache',
  getInstancesUsage: 'usage',
  getInventory: 'usage',
};
