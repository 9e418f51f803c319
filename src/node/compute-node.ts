// ComputeNode: what an agent embeds. It owns claims, journals and undo; the driver owns the hypervisor.
import type { CacheOutcome, CallOptions, DriverCapabilities, RebootType } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import { canonicalUuid } from '../driver/identity.js';
import type { ImageCacheMetrics } from '../driver/image-cache.js';
import type { PowerState, Vif } from '../driver/model.js';
import { nodeReport, totalsOf } from '../resources/node-report.js';
import type { ReporterOptions, ResourceReporter } from '../resources/resource-reporter.js';
import type { NodeReport } from '../resources/types.js';
import { DeviceOperations } from './device-operations.js';
import { takenVifs } from './devices.js';
import { Guests } from './guests.js';
import type { HostLock } from './host-lock.js';
import { cacheImage, manageImageCache } from './image-cache.js';
import { launchInstance } from './launch.js';
import { parseImage, parseLaunchRequest } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { notFound } from './node-errors.js';
import type { NodeEvents } from './node-events.js';
import { NodeService } from './node-service.js';
import { type OpenedNode, openNode } from './open.js';
import { operate, SHUTDOWN_MS } from './operation.js';
import type { Periodic } from './periodic.js';
import type { PowerSync } from './power-sync.js';
import { NodeReporters } from './reports.js';
import { terminateInstance } from './terminate.js';
import type {
  CacheImageNodeOptions,
  ComputeNodeOptions,
  ConsoleOptions,
  InstanceView,
  LaunchOptions,
  LaunchRequest,
  LaunchResult,
  NodeEvent,
  OperationOptions,
  RebootNodeOptions,
  Recovery,
  ShutdownOptions,
} from './types.js';

const REBOOT_MS = 120_000;
/** On top of what the guest is given. */
const SLACK_MS = 120_000;
const READ_TIMEOUT_MS = 60_000;

/**
 * One compute node on one instances path. Operations on one instance run one after another in order of arrival, those on
 * different instances side by side; terminate cuts short what is under way. Every rejection is a ComputeError: beside the
 * codes that a method names, `ABORTED` by its signal, `TIMEOUT` by its deadline, `CLOSED` after {@link close},
 * `INVALID_ARGUMENT` for a uuid that is none, and what the driver rejects with.
 */
export class ComputeNode extends DeviceOperations implements AsyncDisposable {
  /** What start-up found of an earlier process and did about it. Also told by `recovered` events right after open. */
  readonly recoveries: readonly Recovery[];
  /** What concerns the system in the guest: its agent, its consoles, its figures. */
  readonly guests: Guests;
  /** Whether schedulers should give it instances, and why not. */
  readonly service: NodeService;
  readonly #events: NodeEvents;
  readonly #lock: HostLock;
  readonly #imageCachePass: Periodic;
  readonly #reporters: NodeReporters;
  readonly #resizeConfirmPass: Periodic;
  readonly #powerSync: PowerSync;
  readonly #powerSyncPass: Periodic;
  #closing: Promise<void> | undefined;

  private constructor(opened: OpenedNode) {
    const { context, events, lock, record, imageCachePass, resizeConfirmPass } = opened;
    const { powerSync, powerSyncPass } = opened;
    super(context);
    this.guests = new Guests(context);
    this.service = new NodeService(context.service, record);
    this.#reporters = new NodeReporters(context, events, record);
    this.#events = events;
    this.#lock = lock;
    this.#imageCachePass = imageCachePass;
    this.#resizeConfirmPass = resizeConfirmPass;
    this.#powerSync = powerSync;
    this.#powerSyncPass = powerSyncPass;
    this.recoveries = opened.recoveries;
    // Once the caller of open() has had its turn and may have subscribed.
    setImmediate(() => {
      for (const recovery of opened.recoveries)
        events.publish({ type: 'recovered', timestamp: Date.now(), recovery });
    });
  }

  /**
   * Takes the instances path for this process, connects the driver and puts in order what an earlier process left.
   * Rejects with `HOST_LOCKED`, `DRIVER_UNKNOWN`, `HOST_UNSUITABLE`, `CONNECTION_FAILED`.
   */
  static async open(options: ComputeNodeOptions = {}): Promise<ComputeNode> {
    return new ComputeNode(await openNode(options));
  }

  get capabilities(): DriverCapabilities {
    return this.context.driver.capabilities;
  }

  /**
   * Claims, provides the image, defines and starts. On any failure nothing is left: no file, no tap, no domain, no claim.
   * Rejects with `INSTANCE_EXISTS`, `CLAIM_REFUSED`, `FLAVOR_DISK_TOO_SMALL`, `FLAVOR_MEMORY_TOO_SMALL`, `IMAGE_*`,
   * `NETWORK_FAILED`, `START_FAILED`, `NO_SPACE`. Waits in line behind `maxConcurrentLaunches` others.
   */
  async launch(request: LaunchRequest, options: LaunchOptions = {}): Promise<LaunchResult> {
    const { forceConfigDrive } = this.context;
    const taken = (uuid: string): readonly Vif[] => takenVifs(this.context, uuid);
    const parsed = parseLaunchRequest(request, taken, forceConfigDrive);
    return await launchInstance(this.context, parsed, options);
  }

  /** Stops it and removes everything of it. An unknown instance is success. Cuts short what is under way, a launch too. */
  async terminate(uuid: string, options: OperationOptions = {}): Promise<void> {
    await terminateInstance(this.context, canonicalUuid(uuid, 'terminate'), options);
  }

  /** Asks the guest, pulls the plug when its time is over. Stopped already is success. */
  async shutdown(uuid: string, options: ShutdownOptions = {}): Promise<void> {
    const { shutdownTimeoutMs = SHUTDOWN_MS, retryIntervalMs } = options;
    const rules = { task: 'shutdown', options, timeoutMs: shutdownTimeoutMs + SLACK_MS };
    await operate(this.context, canonicalUuid(uuid, 'shutdown'), rules, async (known, { signal }) => {
      const { uuid } = known.instance;
      await this.context.driver.powerOff(uuid, { shutdownTimeoutMs, retryIntervalMs, signal });
      await known.journal.append({ event: 'halted' });
    });
  }

  /** Running already is success. */
  async start(uuid: string, options: OperationOptions = {}): Promise<void> {
    const rules = { task: 'start', options, journaled: 'start' as const };
    await operate(this.context, canonicalUuid(uuid, 'start'), rules, async ({ instance }, { signal }) => {
      await this.context.driver.powerOn(instance, { signal });
    });
  }

  /** Soft (the default) asks the guest and becomes hard when its time is over; hard also starts what is stopped. */
  async reboot(uuid: string, type: RebootType = 'soft', options: RebootNodeOptions = {}): Promise<void> {
    if (type !== 'soft' && type !== 'hard') {
      throw new ComputeError('INVALID_ARGUMENT', `reboot is soft or hard, not ${JSON.stringify(type)}`, {
        operation: 'reboot',
      });
    }
    const { shutdownTimeoutMs = REBOOT_MS } = options;
    const rules = {
      task: 'reboot',
      options,
      timeoutMs: shutdownTimeoutMs + SLACK_MS,
      journaled: 'reboot' as const,
    };
    await operate(this.context, canonicalUuid(uuid, 'reboot'), rules, async ({ instance }, { signal }) => {
      await this.context.driver.reboot(instance, type, { shutdownTimeoutMs, signal });
    });
  }

  /** Rejects with `INVALID_STATE` where it does not run. Paused already is success. */
  async pause(uuid: string, options: OperationOptions = {}): Promise<void> {
    await this.#delegate(uuid, 'pause', options, (one, call) => this.context.driver.pause(one.uuid, call));
  }

  /** Rejects with `INVALID_STATE` where it is stopped. Running already is success. */
  async unpause(uuid: string, options: OperationOptions = {}): Promise<void> {
    await this.#delegate(uuid, 'unpause', options, (one, call) =>
      this.context.driver.unpause(one.uuid, call),
    );
  }

  /** Its memory goes to disk, and comes back with {@link resume}. Suspended already is success; `INVALID_STATE` where it does not run. */
  async suspend(uuid: string, options: OperationOptions = {}): Promise<void> {
    const rules = { task: 'suspend', options, journaled: 'suspend' as const };
    await operate(this.context, canonicalUuid(uuid, 'suspend'), rules, async (known, { signal }) => {
      await this.context.driver.suspend(known.instance.uuid, { signal });
      await known.journal.append({ event: 'halted' });
    });
  }

  /** Running already is success; `INVALID_STATE` where it is not suspended. Event `saved-state-lost`: it booted from its disk. */
  async resume(uuid: string, options: OperationOptions = {}): Promise<void> {
    const rules = { task: 'resume', options, journaled: 'start' as const };
    await operate(this.context, canonicalUuid(uuid, 'resume'), rules, async ({ instance }, { signal }) => {
      await this.context.driver.resume(instance, { signal });
    });
  }

  /** Sends it an NMI: a guest that is set up so dumps its memory. `INVALID_STATE` where it does not run. */
  async triggerCrashDump(uuid: string, options: OperationOptions = {}): Promise<void> {
    await this.#delegate(uuid, 'triggerCrashDump', options, (one, call) =>
      this.context.driver.triggerCrashDump(one.uuid, call),
    );
  }

  /** Rejects with `INSTANCE_NOT_FOUND`. */
  async get(uuid: string, options: OperationOptions = {}): Promise<InstanceView> {
    const id = canonicalUuid(uuid, 'get');
    return await this.#read('get', id, options, async (call) => {
      const known = this.context.instances.get(id);
      if (!known) throw notFound(id, 'get');
      return known.view(await this.#powerState(id, call));
    });
  }

  /** One question to the hypervisor, however many instances there are. In no order. */
  async list(options: OperationOptions = {}): Promise<InstanceView[]> {
    return await this.#read('list', undefined, options, async (call) => {
      const summaries = await this.context.driver.listInstances(call);
      const states = new Map(summaries.map(({ uuid, powerState }) => [uuid, powerState]));
      return [...this.context.instances].map(([uuid, known]) => known.view(states.get(uuid) ?? 'nostate'));
    });
  }

  /** The end of what the guest wrote to its serial console. Rejects with `INSTANCE_NOT_FOUND`. */
  async console(uuid: string, options: ConsoleOptions = {}): Promise<Uint8Array> {
    const id = canonicalUuid(uuid, 'console');
    const { maxBytes } = options;
    return await this.#read('console', id, options, async (call) => {
      if (!this.context.instances.has(id)) throw notFound(id, 'console');
      return await this.context.driver.getConsoleOutput(id, {
        ...call,
        ...(maxBytes !== undefined && { maxBytes }),
      });
    });
  }

  /** Asks the host, and counts later claims against what it says. */
  async report(options: OperationOptions = {}): Promise<NodeReport> {
    return await this.#read('report', undefined, options, async (call) => {
      const { driver, tracker, instances } = this.context;
      const resource = await driver.getAvailableResource(call);
      tracker.setTotals(totalsOf(resource));
      return nodeReport(resource, tracker, instances.size);
    });
  }

  /**
   * Reports of this node from now on: periodically, on every change, to readers and sinks. Ends with the node. Rejects with
   * what the driver says where the host cannot be sampled, and with what a sink says that cannot be opened.
   */
  async reporter(options: ReporterOptions = {}): Promise<ResourceReporter> {
    return await this.#reporters.open(options);
  }

  /**
   * Fetches an image for instances that come later; a launch that wants it meanwhile shares the fetch. Rejects with
   * `IMAGE_*`, `NO_SPACE`, `UNAUTHORIZED`, and `UNSUPPORTED` where the capability `imageCache` is false.
   */
  async cacheImage(
    image: LaunchRequest['image'],
    options: CacheImageNodeOptions = {},
  ): Promise<CacheOutcome> {
    return await cacheImage(this.context, parseImage(image), options);
  }

  /** One pass of ageing over the image cache, now. `UNSUPPORTED` where the capability `imageCache` is false. */
  async manageImageCache(options: OperationOptions = {}): Promise<void> {
    await this.#read('manageImageCache', undefined, options, (call) => manageImageCache(this.context, call));
  }

  /** Counted since the node was opened. `UNSUPPORTED` where the capability `imageCache` is false. */
  async imageCacheMetrics(options: OperationOptions = {}): Promise<ImageCacheMetrics> {
    return await this.#read('imageCacheMetrics', undefined, options, (call) =>
      this.context.driver.getImageCacheMetrics(call),
    );
  }

  /** From now on, in order. Ends when the node is closed, the reader returns or `signal` fires. Bounded: see the `gap` event. */
  events(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<NodeEvent> {
    return this.#events.subscribe(options);
  }

  /**
   * Launches under way are aborted and undone, terminations are finished, other calls reject with `CLOSED`. Instances go
   * on running; the next node on this path adopts them. Idempotent.
   */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    const { calls, driver } = this.context;
    try {
      await this.#imageCachePass.stop();
      await this.#resizeConfirmPass.stop();
      await this.#powerSync.stop();
      await this.#powerSyncPass.stop();
      await this.#reporters.close();
      this.context.service.close();
      await calls.close();
      await driver.close();
      await this.#events.close();
    } finally {
      await this.#lock.release();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #delegate(
    uuid: string,
    task: string,
    options: OperationOptions,
    work: (instance: Parameters<NodeContext['driver']['resume']>[0], call: CallOptions) => Promise<void>,
  ): Promise<void> {
    await operate(
      this.context,
      canonicalUuid(uuid, task),
      { task, options },
      async ({ instance }, { signal }) => {
        await work(instance, { signal });
      },
    );
  }

  /** Questions wait for nobody: they are answered beside whatever is under way. */
  async #read<T>(
    operation: string,
    instanceUuid: string | undefined,
    options: OperationOptions,
    work: (call: CallOptions) => Promise<T>,
  ): Promise<T> {
    const { signal, timeoutMs = READ_TIMEOUT_MS } = options;
    const rules = { operation, instanceUuid, signal, timeoutMs };
    return await this.context.calls.run(rules, async (deadline) => await work({ signal: deadline.signal }));
  }

  /** `nostate` for an instance that the hypervisor does not know yet or any more. */
  async #powerState(uuid: string, call: CallOptions): Promise<PowerState> {
    try {
      return (await this.context.driver.getInfo(uuid, call)).powerState;
    } catch (error) {
      if (ComputeError.is(error) && error.code === 'INSTANCE_NOT_FOUND') return 'nostate';
      throw error;
    }
  }
}
