// ComputeDriver on libvirt: delegates to what each file beside it does.
import { debuglog } from 'node:util';
import type {
  CacheImageOptions,
  CacheOutcome,
  CallOptions,
  ComputeDriver,
  DestroyOptions,
  DriverCapabilities,
  PowerOffOptions,
  RebootOptions,
  RebootType,
  SpawnOptions,
  SpawnResult,
  UsageOptions,
} from '../driver/compute-driver.js';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { checkInstanceIdentity, checkInstanceUuid } from '../driver/identity.js';
import type { ImageCacheMetrics } from '../driver/image-cache.js';
import type { NodeInventory } from '../driver/inventory.js';
import type {
  AvailableResource,
  DriverEvent,
  ImageMeta,
  Instance,
  InstanceInfo,
  InstanceSummary,
} from '../driver/model.js';
import type { InstanceUsage } from '../driver/usage.js';
import { ImageCache } from '../image/image-cache.js';
import type { ImageLogger } from '../image/types.js';
import type { NativeDomain, NativeDomainRecord } from '../native.js';
import { Bridges } from '../network/bridges.js';
import { unplug } from '../network/plug.js';
import { availableResource, type HostFactsOfLibvirt, readHostFacts } from './available-resource.js';
import { ChangeCalls, type ChangeHost } from './change-calls.js';
import { CONSOLE_LOG_MAX_BYTES, ConsoleLogs } from './console-logs.js';
import type { DeviceHost } from './device-change.js';
import { DiskGrowth } from './disk-growth.js';
import { domainHost } from './domain-host.js';
import { Domains } from './domains.js';
import { CAPABILITIES } from './driver-capabilities.js';
import { type EmbeddedRoot, prepareEmbeddedRoot } from './embedded-root.js';
import { GuestAgent } from './guest-agent.js';
import type { GuestHost } from './guest-questions.js';
import { findQemuUser, kvmObstacle, opensVhostNet, type QemuUser, supportsDirectIo } from './host-probe.js';
import { type CallContext, Hypervisor } from './hypervisor.js';
import type { InstanceDisks } from './instance-disks.js';
import { CONSOLE_BYTES, InstanceFiles } from './instance-files.js';
import { Interfaces } from './interfaces.js';
import { Inventory } from './inventory.js';
import type { LiveResizeHost } from './live-resize.js';
import { NetworkFilters } from './network-filters.js';
import { explainOpen } from './open-error.js';
import { DEFAULT_ROOT, type LibvirtDriverOptions, parseLibvirtOptions } from './options.js';
import { Power, type PowerHost } from './power.js';
import type { RebuildHost } from './rebuild.js';
import { Rescue } from './rescue.js';
import type { ResizeHost } from './resize.js';
import { SavedMemory } from './saved-memory.js';
import { Snapshots } from './snapshots.js';
import { spawn } from './spawn.js';
import { powerState } from './states.js';
import { instancesUsage } from './usage.js';
import { Volumes } from './volumes.js';
import { DOMAIN_NAMESPACE, domainXml } from './xml/domain.js';
import type { DiskCache, DomainHost } from './xml/host.js';

/** libvirt probes QEMU at the first open of a fresh root: seconds, or a minute where /dev/kvm can't be opened. */
const OPEN_TIMEOUT_MS = 180_000;
const DESTROY_TIMEOUT_MS = 120_000;
/** A pass works beside launches: it gives way, and has time. */
const CACHE_PASS_TIMEOUT_MS = 600_000;

const debug = debuglog('node-compute');
const debugLogger: ImageLogger = {
  debug: (message, fields) => debug('%s %o', message, fields ?? {}),
  info: (message, fields) => debug('%s %o', message, fields ?? {}),
  warn: (message, fields) => debug('%s %o', message, fields ?? {}),
  error: (message, fields) => debug('%s %o', message, fields ?? {}),
};

/** What exists once initHost() succeeded. */
interface Ready {
  readonly facts: HostFactsOfLibvirt;
  readonly diskCache: DiskCache;
  /** Of a daemon's host it is not known. */
  readonly vhostNet: boolean | undefined;
}

export class LibvirtDriver extends ChangeCalls implements ComputeDriver {
  readonly name = 'libvirt.LibvirtDriver';
  readonly capabilities: DriverCapabilities;
  readonly #options: LibvirtDriverOptions;
  readonly #logger: ImageLogger;
  readonly #embedded: EmbeddedRoot | undefined;
  readonly #hypervisor: Hypervisor;
  readonly #domains: Domains;
  readonly #images: ImageCache;
  readonly #bridges = new Bridges();
  readonly #filters: NetworkFilters;
  readonly #virtType: 'kvm' | 'qemu';
  readonly #user: QemuUser | undefined;
  readonly #agent: GuestAgent;
  readonly #consoleLogs: ConsoleLogs;
  readonly #power: Power;
  readonly #rebuild: RebuildHost;
  readonly #rescue: Rescue;
  readonly #resize: ResizeHost & LiveResizeHost;
  readonly #volumes: Volumes;
  readonly #interfaces: Interfaces;
  readonly #snapshots: Snapshots;
  readonly #growth: DiskGrowth;
  readonly #inventory = new Inventory();
  #ready: Ready | undefined;
  #imageEvents: Promise<void> | undefined;

  /** Throws `INVALID_ARGUMENT`, and `HOST_UNSUITABLE` where the host lacks what an embedded connection needs. */
  constructor(options: unknown) {
    super();
    const parsed = parseLibvirtOptions(options);
    this.#options = parsed;
    const embedded = parsed.uri === undefined;
    this.capabilities = { ...CAPABILITIES, vifFilter: !embedded };
    this.#logger = parsed.logger ?? debugLogger;
    // First, as it refuses wrong options of its own before a root is prepared.
    this.#images = new ImageCache({
      ...parsed.images,
      instancesPath: parsed.instancesPath,
      logger: this.#logger,
    });
    this.#embedded = embedded
      ? prepareEmbeddedRoot(parsed.root ?? DEFAULT_ROOT, parsed.security ?? {})
      : undefined;
    this.#user = this.#embedded ? this.#embedded.user : findQemuUser();
    this.#virtType = this.#chooseVirtType();
    this.#hypervisor = new Hypervisor({
      uri: this.#embedded?.uri ?? parsed.uri ?? '',
      logFile: this.#embedded?.logFile ?? '',
      embedded: this.#embedded !== undefined,
      keepAliveSeconds: parsed.keepAliveSeconds ?? 5,
      logger: this.#logger,
    });
    this.#filters = new NetworkFilters(this.#hypervisor, embedded, parsed.vifFilter);
    this.#domains = new Domains(this.#hypervisor, parsed.startTimeoutMs ?? 60_000);
    const { instancesPath, consoleLogMaxBytes = CONSOLE_LOG_MAX_BYTES } = parsed;
    this.#consoleLogs = new ConsoleLogs(instancesPath, consoleLogMaxBytes, this.#logger);
    this.#agent = new GuestAgent(this.#hypervisor, this.#logger);
    const savedMemory = new SavedMemory(this.#hypervisor, this.#domains, this.#logger);
    const power: PowerHost = {
      instancesPath: parsed.instancesPath,
      hypervisor: this.#hypervisor,
      domains: this.#domains,
      bridges: this.#bridges,
      filters: this.#filters,
      savedMemory,
      agent: this.#agent,
      definition: (instance, files, disks) => this.#definition(instance, files, disks),
    };
    this.#power = new Power(power);
    this.#rebuild = {
      ...power,
      images: this.#images,
      power: this.#power,
      logger: this.#logger,
      info: (domain, context) => this.#info(domain, context),
    };
    this.#rescue = new Rescue(this.#rebuild);
    const devices: DeviceHost = {
      instancesPath: parsed.instancesPath,
      hypervisor: this.#hypervisor,
      domains: this.#domains,
      logger: this.#logger,
      domainHost: (instance, files, disks) => this.#domainHost(instance, files, disks),
      definition: (instance, files, disks) => this.#definition(instance, files, disks),
      detachTimeoutMs: parsed.detachTimeoutMs ?? 20_000,
      detachAttempts: parsed.detachAttempts ?? 8,
    };
    this.#growth = new DiskGrowth(instancesPath);
    this.#volumes = new Volumes(devices);
    this.#resize = {
      ...devices,
      images: this.#images,
      power: this.#power,
      savedMemory,
      guestTimeoutMs: parsed.liveResizeTimeoutMs ?? 30_000,
    };
    this.#interfaces = new Interfaces(devices, this.#bridges, this.#filters);
    this.#snapshots = new Snapshots({
      instancesPath,
      hypervisor: this.#hypervisor,
      domains: this.#domains,
      agent: this.#agent,
      logger: this.#logger,
      images: parsed.images ?? {},
    });
  }

  async initHost(options: CallOptions = {}): Promise<void> {
    const context: CallContext = { operation: 'initHost', timeoutMs: OPEN_TIMEOUT_MS, ...options };
    for (const reason of this.#embedded?.weakened ?? []) this.#logger.warn(reason);
    await this.#images.recover(options.signal ? { signal: options.signal } : {});
    this.#imageEvents ??= this.#passOnImageEvents();
    try {
      await this.#hypervisor.open(context);
    } catch (error) {
      throw explainOpen(error, this.#embedded && (this.#options.root ?? DEFAULT_ROOT));
    }
    const { diskCache, instancesPath } = this.#options;
    this.#ready = {
      facts: await readHostFacts(this.#hypervisor, context),
      // The guest has a page cache of its own: bypass the host's where the file system can.
      diskCache: diskCache ?? ((await supportsDirectIo(instancesPath)) ? 'none' : 'writeback'),
      vhostNet: this.#embedded && (await opensVhostNet()),
    };
    this.#consoleLogs.start();
  }

  async close(): Promise<void> {
    this.closeConsoles();
    // First: what is undone needs the connection.
    await this.#snapshots.close();
    await Promise.all([this.#images.close(), this.#hypervisor.close(), this.#consoleLogs.stop()]);
    await this.#imageEvents;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
    checkInstanceIdentity(instance, 'spawn');
    return await spawn(
      {
        instancesPath: this.#options.instancesPath,
        images: this.#images,
        bridges: this.#bridges,
        filters: this.#filters,
        domains: this.#domains,
        user: this.#user,
        logger: this.#logger,
        definition: (one, files, disks) => this.#definition(one, files, disks),
        info: (domain, context) => this.#info(domain, context),
      },
      instance,
      options,
    );
  }

  async destroy(instance: Pick<Instance, 'uuid' | 'vifs'>, options: DestroyOptions = {}): Promise<void> {
    const uuid = checkInstanceUuid(instance.uuid, 'destroy');
    const { destroyDisks = true, signal, timeoutMs = DESTROY_TIMEOUT_MS } = options;
    const context: CallContext = { operation: 'destroy', instanceUuid: uuid, signal, timeoutMs };
    await this.#domains.remove(uuid, context);
    for (const vif of instance.vifs) await unplug(this.#bridges, vif);
    if (destroyDisks) await new InstanceFiles(this.#options.instancesPath, uuid).remove(context);
  }

  async powerOff(uuid: string, options: PowerOffOptions = {}): Promise<void> {
    await this.#power.off(checkInstanceUuid(uuid, 'powerOff'), options);
  }

  async powerOn(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'powerOn');
    await this.#power.on(instance, options);
  }

  async reboot(instance: Instance, type: RebootType, options: RebootOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'reboot');
    await this.#power.reboot(instance, type, options);
  }

  override async pause(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#power.pause(checkInstanceUuid(uuid, 'pause'), options);
  }

  override async unpause(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#power.unpause(checkInstanceUuid(uuid, 'unpause'), options);
  }

  override async suspend(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#power.suspend(checkInstanceUuid(uuid, 'suspend'), options);
  }

  override async resume(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'resume');
    await this.#power.resume(instance, options);
  }

  override async resumeStateOnHostBoot(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'resumeStateOnHostBoot');
    await this.#power.resumeOnHostBoot(instance, options);
  }

  override async triggerCrashDump(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#power.crash(checkInstanceUuid(uuid, 'triggerCrashDump'), options);
  }

  async getInfo(uuid: string, options: CallOptions = {}): Promise<InstanceInfo> {
    checkInstanceUuid(uuid, 'getInfo');
    const context: CallContext = { operation: 'getInfo', instanceUuid: uuid, ...options };
    return await this.#info(await this.#hypervisor.domain(uuid, context), context);
  }

  async instanceExists(uuid: string, options: CallOptions = {}): Promise<boolean> {
    checkInstanceUuid(uuid, 'instanceExists');
    const context: CallContext = { operation: 'instanceExists', instanceUuid: uuid, ...options };
    return (await this.#domains.find(uuid, context)) !== undefined;
  }

  async listInstances(options: CallOptions = {}): Promise<InstanceSummary[]> {
    const records = await this.#records({ operation: 'listInstances', ...options });
    return records.map(({ uuid, name, state, saved }) => ({
      uuid,
      name,
      powerState: powerState(state, saved),
    }));
  }

  async getAvailableResource(options: CallOptions = {}): Promise<AvailableResource> {
    const context: CallContext = { operation: 'getAvailableResource', ...options };
    const { facts } = this.#made('getAvailableResource');
    return await availableResource(
      {
        hypervisor: this.#hypervisor,
        instancesPath: this.#options.instancesPath,
        growth: this.#growth,
        facts,
        virtType: this.#virtType,
      },
      context,
    );
  }

  override async getInstancesUsage(options: UsageOptions = {}): Promise<InstanceUsage[]> {
    this.#made('getInstancesUsage');
    const { groups = [], ...call } = options;
    const context: CallContext = { operation: 'getInstancesUsage', ...call };
    return await instancesUsage(this.#hypervisor, this.#options.instancesPath, groups, context);
  }

  override async getInventory(options: CallOptions = {}): Promise<NodeInventory> {
    const { facts } = this.#made('getInventory');
    const { emulator } = this.#options;
    return await this.#inventory.read(
      { hypervisor: this.#hypervisor, facts, virtType: this.#virtType, emulator, capabilities: CAPABILITIES },
      { operation: 'getInventory', ...options },
    );
  }

  override async getConsoleOutput(
    uuid: string,
    options: CallOptions & { readonly maxBytes?: number } = {},
  ): Promise<Uint8Array> {
    checkInstanceUuid(uuid, 'getConsoleOutput');
    const { maxBytes = CONSOLE_BYTES, ...call } = options;
    const context: CallContext = { operation: 'getConsoleOutput', instanceUuid: uuid, ...call };
    // An unknown instance is that, not a missing file.
    await this.#hypervisor.domain(uuid, context);
    const { consoleLog } = new InstanceFiles(this.#options.instancesPath, uuid);
    return await this.#consoleLogs.read(consoleLog, maxBytes, context);
  }

  override async cacheImage(image: ImageMeta, options: CacheImageOptions = {}): Promise<CacheOutcome> {
    this.#made('cacheImage');
    return (await this.#images.prefetch(image, options)).how;
  }

  override async manageImageCache(inUse: readonly string[], options: CallOptions = {}): Promise<void> {
    this.#made('manageImageCache');
    using deadline = new Deadline({
      operation: 'manageImageCache',
      timeoutMs: CACHE_PASS_TIMEOUT_MS,
      ...options,
    });
    try {
      await this.#images.prune({ inUse, signal: deadline.signal });
    } catch (error) {
      throw deadline.explain(error);
    }
    this.#images.scrubDue();
  }

  override async getImageCacheMetrics(): Promise<ImageCacheMetrics> {
    this.#made('getImageCacheMetrics');
    return this.#images.metrics();
  }

  events(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<DriverEvent> {
    return this.#hypervisor.events.subscribe(options);
  }

  /** Ends with the image cache. */
  async #passOnImageEvents(): Promise<void> {
    const { events } = this.#hypervisor;
    for await (const event of this.#images.events()) {
      if (event.kind === 'gap') events.publish({ type: 'gap', count: event.count });
      else events.publish({ type: 'image-cache', event });
    }
  }

  async #records(context: CallContext): Promise<NativeDomainRecord[]> {
    const records = await this.#hypervisor.call(context, (connection, id) =>
      connection.list(0, DOMAIN_NAMESPACE, id),
    );
    return records.filter((record) => record.ours);
  }

  async #info(domain: NativeDomain, context: CallContext): Promise<InstanceInfo> {
    const { id, state, saved, ...figures } = await this.#domains.info(domain, context);
    const { uuid, name } = domain;
    return { uuid, name, powerState: powerState(state, saved), domainId: id, ...figures };
  }

  #definition(instance: Instance, files: InstanceFiles, disks?: InstanceDisks): string {
    return domainXml(instance, this.#domainHost(instance, files, disks));
  }

  #domainHost(instance: Instance, files: InstanceFiles, disks?: InstanceDisks): DomainHost {
    const { facts, diskCache, vhostNet } = this.#made('spawn');
    return domainHost(
      {
        options: this.#options,
        embedded: this.#embedded !== undefined,
        virtType: this.#virtType,
        architecture: facts.architecture,
        diskCache,
        vhostNet,
        basePath: this.#images.basePath(instance.image.id),
      },
      instance,
      files,
      disks,
    );
  }

  protected override deviceHost(): { readonly volumes: Volumes; readonly interfaces: Interfaces } {
    return { volumes: this.#volumes, interfaces: this.#interfaces };
  }

  protected override changeHost(): ChangeHost {
    return { rescue: this.#rescue, rebuild: this.#rebuild, snapshots: this.#snapshots };
  }

  protected override resizeHost(): ResizeHost & LiveResizeHost {
    return this.#resize;
  }

  protected override guestHost(): GuestHost {
    return { hypervisor: this.#hypervisor, agent: this.#agent, virtType: this.#virtType };
  }

  #made(operation: string): Ready {
    if (this.#ready) return this.#ready;
    throw new ComputeError('INVALID_STATE', `${operation}: initHost() has not succeeded yet`, { operation });
  }

  #chooseVirtType(): 'kvm' | 'qemu' {
    const { virtType = 'auto' } = this.#options;
    if (virtType !== 'auto') return virtType;
    const obstacle = kvmObstacle();
    if (obstacle === undefined) return 'kvm';
    this.#logger.warn('guests are emulated, which is slow', { reason: obstacle });
    return 'qemu';
  }
}
