// Power of an instance that exists: on, off, reboot, pause. Each is idempotent in the way Nova means it.
import type { PowerOffOptions, RebootOptions, RebootType } from '../driver/compute-driver.js';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance, PowerState } from '../driver/model.js';
import type { NativeDomain } from '../native.js';
import type { Bridges } from '../network/bridges.js';
import type { Domains } from './domains.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import type { InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { powerState } from './states.js';

export interface PowerHost {
  readonly instancesPath: string;
  readonly hypervisor: Hypervisor;
  readonly domains: Domains;
  readonly bridges: Bridges;
  readonly definition: (instance: Instance, files: InstanceFiles, disks?: InstanceDisks) => string;
}

/** Nova repeats the ACPI request every 10 s, and gives a soft reboot 120 s. */
const RETRY_INTERVAL_MS = 10_000;
const SOFT_REBOOT_TIMEOUT_MS = 120_000;
/** On top of what the guest is given. */
const POWER_TIMEOUT_MS = 120_000;

export class Power {
  readonly #host: PowerHost;

  constructor(host: PowerHost) {
    this.#host = host;
  }

  async off(uuid: string, options: PowerOffOptions): Promise<void> {
    const { shutdownTimeoutMs = 0, retryIntervalMs = RETRY_INTERVAL_MS } = options;
    await this.#run('powerOff', uuid, { ...options, guestMs: shutdownTimeoutMs }, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.#state(domain, context);
      if (state === 'shutdown' || state === 'crashed') return;
      // A paused guest can't answer.
      if (shutdownTimeoutMs > 0 && state === 'running') {
        if (
          await this.#host.domains.shutdown(
            domain,
            { timeoutMs: shutdownTimeoutMs, retryIntervalMs },
            context,
          )
        )
          return;
      }
      await this.#host.domains.stop(domain, context);
    });
  }

  async on(instance: Instance, options: PowerOffOptions): Promise<void> {
    await this.#run('powerOn', instance.uuid, options, async (context) => {
      const domain = await this.#host.domains.find(instance.uuid, context);
      const state = domain && (await this.#state(domain, context));
      if (state === 'running') return;
      if (domain && state === 'paused') await this.#host.domains.resume(domain, context);
      else await this.#start(instance, context);
    });
  }

  async reboot(instance: Instance, type: RebootType, options: RebootOptions): Promise<void> {
    const { shutdownTimeoutMs = SOFT_REBOOT_TIMEOUT_MS } = options;
    const guestMs = type === 'soft' ? shutdownTimeoutMs : 0;
    await this.#run('reboot', instance.uuid, { ...options, guestMs }, async (context) => {
      const domain = await this.#host.domains.find(instance.uuid, context);
      if (domain) {
        const running = (await this.#state(domain, context)) === 'running';
        const limits = { timeoutMs: guestMs, retryIntervalMs: RETRY_INTERVAL_MS };
        const asked = guestMs > 0 && running && (await this.#host.domains.shutdown(domain, limits, context));
        if (!asked) await this.#host.domains.stop(domain, context);
      }
      await this.#start(instance, context);
    });
  }

  async pause(uuid: string, options: PowerOffOptions): Promise<void> {
    await this.#run('pause', uuid, options, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.#state(domain, context);
      if (state === 'paused') return;
      if (state !== 'running') throw wrongState('pause', uuid, state);
      await this.#host.domains.suspend(domain, context);
    });
  }

  async unpause(uuid: string, options: PowerOffOptions): Promise<void> {
    await this.#run('unpause', uuid, options, async (context) => {
      const domain = await this.#host.hypervisor.domain(uuid, context);
      const state = await this.#state(domain, context);
      if (state === 'running') return;
      if (state !== 'paused') throw wrongState('unpause', uuid, state);
      await this.#host.domains.resume(domain, context);
    });
  }

  async #state(domain: NativeDomain, context: CallContext): Promise<PowerState> {
    return powerState((await this.#host.domains.info(domain, context)).state);
  }

  /** Nova's repair-all: a new definition from the instance, its bridges back, then start. */
  async #start(instance: Instance, context: CallContext): Promise<void> {
    const { bridges, domains, definition, instancesPath } = this.#host;
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
    for (const vif of instance.vifs) {
      await bridges.acquire(vif.bridge, { user: vif.id, mtu: vif.mtu, signal: context.signal });
    }
    await domains.start(await domains.define(xml, context), context);
  }

  async #run(
    operation: string,
    uuid: string,
    options: {
      readonly signal?: AbortSignal | undefined;
      readonly timeoutMs?: number | undefined;
      readonly guestMs?: number;
    },
    work: (context: CallContext) => Promise<void>,
  ): Promise<void> {
    using deadline = new Deadline({
      operation,
      instanceUuid: uuid,
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? POWER_TIMEOUT_MS + (options.guestMs ?? 0),
    });
    try {
      deadline.check();
      await work({ operation, instanceUuid: uuid, signal: deadline.signal });
    } catch (error) {
      throw deadline.explain(error);
    }
  }
}

function wrongState(operation: string, uuid: string, state: PowerState): ComputeError {
  return new ComputeError('INVALID_STATE', `cannot ${operation} instance ${uuid}: it is ${state}`, {
    operation,
    instanceUuid: uuid,
    details: { powerState: state },
  });
}
