// Power of an instance that exists: on, off, reboot, pause, suspend. Each is idempotent in the way Nova means it.
import type { CallOptions, PowerOffOptions, RebootOptions, RebootType } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance, PowerState } from '../driver/model.js';
import type { NativeDomain } from '../native.js';
import type { Bridges } from '../network/bridges.js';
import type { Domains } from './domains.js';
import type { GuestAgent } from './guest-agent.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { instanceCall, wrongState } from './instance-call.js';
import type { InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import type { SavedMemory } from './saved-memory.js';
import { powerState } from './states.js';

export interface PowerHost {
  readonly instancesPath: string;
  readonly hypervisor: Hypervisor;
  readonly domains: Domains;
  readonly bridges: Bridges;
  readonly savedMemory: SavedMemory;
  readonly agent: GuestAgent;
  readonly definition: (instance: Instance, files: InstanceFiles, disks?: InstanceDisks) => string;
}

/** Nova repeats the ACPI request every 10 s, and gives a soft reboot 120 s. */
const RETRY_INTERVAL_MS = 10_000;
const SOFT_REBOOT_TIMEOUT_MS = 120_000;
/** On top of what the guest is given. */
const POWER_TIMEOUT_MS = 120_000;
/** All of its memory goes to disk, or comes from there. */
const SUSPEND_TIMEOUT_MS = 600_000;
/** What a resume waits at most for an agent that was there before. */
const AGENT_PATIENCE_MS = 3_000;

export class Power {
  readonly #host: PowerHost;

  constructor(host: PowerHost) {
    this.#host = host;
  }

  async off(uuid: string, options: PowerOffOptions): Promise<void> {
    const { shutdownTimeoutMs = 0, retryIntervalMs = RETRY_INTERVAL_MS } = options;
    await this.#run('powerOff', uuid, { ...options, guestMs: shutdownTimeoutMs }, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.state(domain, context);
      if (state === 'shutdown' || state === 'crashed') return;
      if (state === 'suspended') throw wrongState(context, state, 'resume it first');
      // A paused guest can't answer.
      const timeoutMs = state === 'running' ? shutdownTimeoutMs : 0;
      await this.halt(domain, { timeoutMs, retryIntervalMs }, context);
    });
  }

  /** Asks the guest for so long as it is given time, then pulls the plug. */
  async halt(
    domain: NativeDomain,
    { timeoutMs, retryIntervalMs = RETRY_INTERVAL_MS }: { timeoutMs: number; retryIntervalMs?: number },
    context: CallContext,
  ): Promise<void> {
    const { domains } = this.#host;
    const limits = { timeoutMs, retryIntervalMs };
    if (timeoutMs > 0 && (await domains.shutdown(domain, limits, context))) return;
    await domains.stop(domain, context);
  }

  async on(instance: Instance, options: PowerOffOptions): Promise<void> {
    await this.#run('powerOn', instance.uuid, options, async (context) => {
      const domain = await this.#host.domains.find(instance.uuid, context);
      const state = domain && (await this.state(domain, context));
      if (state === 'running') return;
      if (domain && state === 'paused') await this.#host.domains.resume(domain, context);
      else if (domain && state === 'suspended') await this.#wake(instance, domain, context);
      else await this.start(instance, context);
    });
  }

  async reboot(instance: Instance, type: RebootType, options: RebootOptions): Promise<void> {
    const { shutdownTimeoutMs = SOFT_REBOOT_TIMEOUT_MS } = options;
    const guestMs = type === 'soft' ? shutdownTimeoutMs : 0;
    await this.#run('reboot', instance.uuid, { ...options, guestMs }, async (context) => {
      const domain = await this.#host.domains.find(instance.uuid, context);
      if (domain) {
        const state = await this.state(domain, context);
        await this.halt(domain, { timeoutMs: state === 'running' ? guestMs : 0 }, context);
        // From its memory it would not boot.
        if (state === 'suspended') await this.#host.savedMemory.discard(domain, context);
      }
      await this.start(instance, context);
    });
  }

  async pause(uuid: string, options: PowerOffOptions): Promise<void> {
    await this.#run('pause', uuid, options, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.state(domain, context);
      if (state === 'paused') return;
      if (state !== 'running') throw wrongState(context, state);
      await this.#host.domains.suspend(domain, context);
    });
  }

  async unpause(uuid: string, options: PowerOffOptions): Promise<void> {
    await this.#run('unpause', uuid, options, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.state(domain, context);
      if (state === 'running') return;
      if (state !== 'paused') throw wrongState(context, state);
      await this.#host.domains.resume(domain, context);
      await this.#host.agent.setTimeByTheWay(domain, 0, context);
    });
  }

  async suspend(uuid: string, options: CallOptions): Promise<void> {
    await instanceCall('suspend', uuid, options, SUSPEND_TIMEOUT_MS, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.state(domain, context);
      if (state === 'suspended') return;
      if (state !== 'running') throw wrongState(context, state);
      await this.#host.savedMemory.save(domain, context);
    });
  }

  async resume(instance: Instance, options: CallOptions): Promise<void> {
    await instanceCall('resume', instance.uuid, options, SUSPEND_TIMEOUT_MS, async (context) => {
      const domain = await this.#host.hypervisor.domain(instance.uuid, context);
      const state = await this.state(domain, context);
      if (state === 'running') return;
      if (state !== 'suspended') throw wrongState(context, state);
      await this.#wake(instance, domain, context);
    });
  }

  async resumeOnHostBoot(instance: Instance, options: CallOptions): Promise<void> {
    const { uuid } = instance;
    await instanceCall('resumeStateOnHostBoot', uuid, options, SUSPEND_TIMEOUT_MS, async (context) => {
      const domain = await this.#host.domains.find(uuid, context);
      const state = domain && (await this.state(domain, context));
      if (state === 'running' || state === 'paused') return;
      // A host that goes down may have had its guests saved: libvirt-guests does.
      if (domain && state === 'suspended') await this.#wake(instance, domain, context);
      else await this.start(instance, context);
    });
  }

  async crash(uuid: string, options: CallOptions): Promise<void> {
    await this.#run('triggerCrashDump', uuid, options, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.state(domain, context);
      if (state !== 'running' && state !== 'paused') throw wrongState(context, state);
      await this.#host.hypervisor.onDomain(domain, context, (d, id) => d.injectNmi(id));
    });
  }

  /** From its memory, else from its disk. */
  async #wake(instance: Instance, domain: NativeDomain, context: CallContext): Promise<void> {
    const { savedMemory, agent } = this.#host;
    await this.plug(instance, context);
    if (await savedMemory.load(domain, context)) {
      await agent.setTimeByTheWay(domain, AGENT_PATIENCE_MS, context);
    } else await this.start(instance, context);
  }

  async state(domain: NativeDomain, context: CallContext): Promise<PowerState> {
    const { state, saved } = await this.#host.domains.info(domain, context);
    return powerState(state, saved);
  }

  /** Nova's repair-all: a new definition from the instance, its bridges back, then start. */
  async start(instance: Instance, context: CallContext): Promise<void> {
    const { domains, definition, instancesPath } = this.#host;
    const files = new InstanceFiles(instancesPath, instance.uuid);
    if (!(await files.hasDisk(context))) {
      throw new ComputeError(
        'INSTANCE_NOT_FOUND',
        `${context.operation}: instance ${instance.uuid} has no disk at ${files.disk()}`,
        context,
      );
    }
    const xml = definition(instance, files, await files.readDisks(context));
    await files.writeDefinition(xml, context);
    await this.plug(instance, context);
    await domains.start(await domains.define(xml, context), context);
  }

  /** Idempotent. */
  async plug(instance: Instance, context: CallContext): Promise<void> {
    for (const { id, bridge, mtu } of instance.vifs) {
      await this.#host.bridges.acquire(bridge, { user: id, mtu, signal: context.signal });
    }
  }

  async #run(
    operation: string,
    uuid: string,
    options: CallOptions & { readonly guestMs?: number },
    work: (context: CallContext) => Promise<void>,
  ): Promise<void> {
    await instanceCall(operation, uuid, options, POWER_TIMEOUT_MS + (options.guestMs ?? 0), work);
  }
}
