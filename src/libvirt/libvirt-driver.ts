// ComputeDriver on libvirt: delegates to what each file beside it does.
import type { Duplex } from 'node:stream';
import { debuglog } from 'node:util';
import {
  BaseDriver,
  type CallOptions,
  type ComputeDriver,
  type DestroyOptions,
  type DriverCapabilities,
  type OpenConsoleOptions,
  type PowerOffOptions,
  type RebootOptions,
  type RebootType,
  type SpawnOptions,
  type SpawnResult,
} from '../driver/compute-driver.js';
import type { ConsoleEndpoint, Screenshot } from '../driver/console.js';
import type { Diagnostics } from '../driver/diagnostics.js';
import { ComputeError, LibvirtError } from '../driver/errors.js';
import { checkInstanceIdentity, checkInstanceUuid } from '../driver/identity.js';
import type {
  AvailableResource,
  DriverEvent,
  Instance,
  InstanceInfo,
  InstanceSummary,
} from '../driver/model.js';
import { ImageCache } from '../image/image-cache.js';
import type { ImageLogger } from '../image/types.js';
import type { NativeDomain, NativeDomainRecord } from '../native.js';
import { Bridges } from '../network/bridges.js';
import { packageVersion } from '../version.js';
import { availableResource, type HostFactsOfLibvirt, readHostFacts } from './available-resource.js';
import { CONSOLE_LOG_MAX_BYTES, ConsoleLogs } from './console-logs.js';
import { openConsole } from './console-stream.js';
import { diagnostics } from './diagnostics.js';
import { Domains } from './domains.js';
import { type EmbeddedRoot, prepareEmbeddedRoot, rootHolder } from './embedded-root.js';
import { GuestAgent } from './guest-agent.js';
import { findQemuUser, kvmObstacle, type QemuUser, supportsDirectIo } from './host-probe.js';
import { type CallContext, Hypervisor } from './hypervisor.js';
import { instanceCall } from './instance-call.js';
import type { InstanceDisks } from './instance-disks.js';
import { CONSOLE_BYTES, InstanceFiles } from './instance-files.js';
import { DEFAULT_ROOT, type LibvirtDriverOptions, parseLibvirtOptions } from './options.js';
import { Power } from './power.js';
import { consoleEndpoint, screenshot } from './remote-console.js';
import { SavedMemory } from './saved-memory.js';
import { spawn } from './spawn.js';
import { powerState } from './states.js';
import { DOMAIN_NAMESPACE, domainXml } from './xml/domain.js';
import type { Architecture, DiskCache } from './xml/host.js';

const CAPABILITIES: DriverCapabilities = {
  pause: true,
  softReboot: true,
  consoleOutput: true,
  suspend: true,
  rescue: false,
  rebuild: false,
  snapshot: false,
  resize: false,
  liveMigration: false,
  attachVolume: false,
  extendVolume: false,
  swapVolume: false,
  attachInterface: false,
  diagnostics: true,
  guestAgent: true,
  crashDump: true,
  resumeOnHostBoot: true,
  remoteConsole: true,
  consoleStream: true,
  imageCache: false,
};

/** libvirt probes QEMU at the first open of a fresh root: seconds, or a minute where /dev/kvm can't be opened. */
const OPEN_TIMEOUT_MS = 180_000;
const DESTROY_TIMEOUT_MS = 120_000;
const QUESTION_TIMEOUT_MS = 60_000;

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
}

export class LibvirtDriver extends BaseDriver implements ComputeDriver {
  readonly name = 'libvirt.LibvirtDriver';
  readonly capabilities: DriverCapabilities = CAPABILITIES;
  readonly #options: LibvirtDriverOptions;
  readonly #logger: ImageLogger;
  readonly #embedded: EmbeddedRoot | undefined;
  readonly #hypervisor: Hypervisor;
  readonly #domains: Domains;
  readonly #images: ImageCache;
  readonly #bridges = new Bridges();
  readonly #virtType: 'kvm' | 'qemu';
  readonly #user: QemuUser | undefined;
  readonly #agent: GuestAgent;
  readonly #consoleLogs: ConsoleLogs;
  readonly #consoles = new Set<Duplex>();
  readonly #power: Power;
  #ready: Ready | undefined;

  /** Throws `INVALID_ARGUMENT`, and `HOST_UNSUITABLE` where the host lacks what an embedded connection needs. */
  constructor(options: unknown) {
    super();
    const parsed = parseLibvirtOptions(options);
    this.#options = parsed;
    this.#logger = parsed.logger ?? debugLogger;
    // First, as it refuses wrong options of its own before a root is prepared.
    this.#images = new ImageCache({
      ...parsed.images,
      instancesPath: parsed.instancesPath,
      logger: this.#logger,
    });
    this.#embedded =
      parsed.uri === undefined
        ? prepareEmbeddedRoot(parsed.root ?? DEFAULT_ROOT, parsed.security ?? {})
        : undefined;
    this.#user = this.#embedded ? this.#embedded.user : findQemuUser();
    this.#virtType = this.#chooseVirtType();
    this.#hypervisor = new Hypervisor({
      uri: this.#embedded?.uri ?? parsed.uri ?? '',
      logFile: this.#embedded?.logFile ?? '',
      embedded: this.#embedded !== undefined,
      logger: this.#logger,
    });
    this.#domains = new Domains(this.#hypervisor, parsed.startTimeoutMs ?? 60_000);
    const { instancesPath, consoleLogMaxBytes = CONSOLE_LOG_MAX_BYTES } = parsed;
    this.#consoleLogs = new ConsoleLogs(instancesPath, consoleLogMaxBytes, this.#logger);
    this.#agent = new GuestAgent(this.#hypervisor, this.#logger);
    this.#power = new Power({
      instancesPath: parsed.instancesPath,
      hypervisor: this.#hypervisor,
      domains: this.#domains,
      bridges: this.#bridges,
      savedMemory: new SavedMemory(this.#hypervisor, this.#domains, this.#logger),
      agent: this.#agent,
      definition: (instance, files, disks) => this.#definition(instance, files, disks),
    });
  }

  async initHost(options: CallOptions = {}): Promise<void> {
    const context: CallContext = { operation: 'initHost', timeoutMs: OPEN_TIMEOUT_MS, ...options };
    for (const reason of this.#embedded?.weakened ?? []) this.#logger.warn(reason);
    await this.#images.recover(options.signal ? { signal: options.signal } : {});
    try {
      await this.#hypervisor.open(context);
    } catch (error) {
      throw this.#explainOpen(error);
    }
    const { diskCache, instancesPath } = this.#options;
    this.#ready = {
      facts: await readHostFacts(this.#hypervisor, context),
      // The guest has a page cache of its own: bypass the host's where the file system can.
      diskCache: diskCache ?? ((await supportsDirectIo(instancesPath)) ? 'none' : 'writeback'),
    };
    this.#consoleLogs.start();
  }

  async close(): Promise<void> {
    for (const console of this.#consoles) console.destroy();
    await Promise.all([this.#images.close(), this.#hypervisor.close(), this.#consoleLogs.stop()]);
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
    for (const vif of instance.vifs) await this.#bridges.release(vif.bridge, vif.id);
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
        domains: this.#domains,
        instancesPath: this.#options.instancesPath,
        facts,
        virtType: this.#virtType,
      },
      await this.#records(context),
      context,
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

  override async openConsole(uuid: string, options: OpenConsoleOptions = {}): Promise<Duplex> {
    return await this.#about('openConsole', uuid, options, async (context) => {
      const console = await openConsole(this.#hypervisor, uuid, options, context);
      this.#consoles.add(console);
      return console.once('close', () => this.#consoles.delete(console));
    });
  }

  override async getVncConsole(uuid: string, options: CallOptions = {}): Promise<ConsoleEndpoint> {
    return await this.#about('getVncConsole', uuid, options, (context) =>
      consoleEndpoint(this.#hypervisor, uuid, 'vnc', context),
    );
  }

  override async getSpiceConsole(uuid: string, options: CallOptions = {}): Promise<ConsoleEndpoint> {
    return await this.#about('getSpiceConsole', uuid, options, (context) =>
      consoleEndpoint(this.#hypervisor, uuid, 'spice', context),
    );
  }

  override async getSerialConsole(uuid: string, options: CallOptions = {}): Promise<ConsoleEndpoint> {
    return await this.#about('getSerialConsole', uuid, options, (context) =>
      consoleEndpoint(this.#hypervisor, uuid, 'serial', context),
    );
  }

  override async getScreenshot(uuid: string, options: CallOptions = {}): Promise<Screenshot> {
    return await this.#about('getScreenshot', uuid, options, (context) =>
      screenshot(this.#hypervisor, uuid, context),
    );
  }

  override async getDiagnostics(uuid: string, options: CallOptions = {}): Promise<Diagnostics> {
    return await this.#about('getDiagnostics', uuid, options, (context) =>
      diagnostics(this.#hypervisor, uuid, this.#virtType, context),
    );
  }

  override async pingAgent(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#agent.ping(checkInstanceUuid(uuid, 'pingAgent'), options);
  }

  override async setAdminPassword(
    instance: Pick<Instance, 'uuid' | 'image'>,
    password: string,
    options: CallOptions & { readonly user?: string } = {},
  ): Promise<void> {
    checkInstanceUuid(instance.uuid, 'setAdminPassword');
    await this.#agent.setAdminPassword(instance, password, options);
  }

  override async setGuestTime(uuid: string, options: CallOptions = {}): Promise<void> {
    await this.#agent.setTime(checkInstanceUuid(uuid, 'setGuestTime'), options);
  }

  override async quiesce(uuid: string, options: CallOptions = {}): Promise<number> {
    return await this.#agent.freeze(checkInstanceUuid(uuid, 'quiesce'), options);
  }

  override async unquiesce(uuid: string, options: CallOptions = {}): Promise<number> {
    return await this.#agent.thaw(checkInstanceUuid(uuid, 'unquiesce'), options);
  }

  async #about<T>(
    operation: string,
    uuid: string,
    options: CallOptions,
    work: (context: CallContext) => Promise<T>,
  ): Promise<T> {
    checkInstanceUuid(uuid, operation);
    return await instanceCall(operation, uuid, options, QUESTION_TIMEOUT_MS, work);
  }

  events(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<DriverEvent> {
    return this.#hypervisor.events.subscribe(options);
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

  /** Without `disks`, and for those that an older version made: overlays, that of the root disk over a raw base. */
  #definition(instance: Instance, files: InstanceFiles, disks: InstanceDisks = {}): string {
    const { facts, diskCache } = this.#made('spawn');
    const { emulator, machine, cpuMode, cpuModel, vncListen = '127.0.0.1', security } = this.#options;
    const diskFormat = disks.disk?.format ?? 'qcow2';
    const usual = { path: this.#images.basePath(instance.image.id), format: 'raw' } as const;
    const base = disks.disk?.base ?? (diskFormat === 'qcow2' ? usual : undefined);
    return domainXml(instance, {
      virtType: this.#virtType,
      architecture: facts.architecture as Architecture,
      emulator,
      machine,
      cpuMode,
      cpuModel,
      cpuTune: this.#embedded ? (security?.cgroups ?? false) : true,
      vncListen: vncListen === '' ? undefined : vncListen,
      diskCache,
      packageVersion: packageVersion(),
      diskPath: files.disk(),
      diskFormat,
      backingPath: base?.path,
      backingFormat: base?.format,
      ephemeralPath: files.disk('disk.local'),
      ephemeralBackingPath: disks['disk.local']?.base?.path,
      swapPath: files.disk('disk.swap'),
      swapBackingPath: disks['disk.swap']?.base?.path,
      consoleLogPath: files.consoleLog,
      nvramPath: files.nvram,
    });
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

  /** A root that another process holds is told as such, with who it is. */
  #explainOpen(error: unknown): unknown {
    const root = this.#options.root ?? DEFAULT_ROOT;
    const holder = this.#embedded && error instanceof LibvirtError ? rootHolder(root) : undefined;
    if (!holder || holder.pid === process.pid) return unreachable(error);
    return new ComputeError(
      'HOST_LOCKED',
      `the embedded libvirt root ${root} is held by process ${holder.pid} (${holder.command}): end it, or choose another root`,
      { operation: 'initHost', cause: error, details: { root, ...holder } },
    );
  }
}

/** Before there was a connection none can have been lost. */
function unreachable(error: unknown): unknown {
  if (!(error instanceof LibvirtError) || error.code !== 'CONNECTION_LOST') return error;
  return new LibvirtError('CONNECTION_FAILED', error.message, error.libvirt, {
    operation: 'initHost',
    retryable: true,
    cause: error,
  });
}
