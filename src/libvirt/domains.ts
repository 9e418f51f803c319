// What this driver does to domains: define, start until it is seen running, stop, remove.
import { ComputeError, LibvirtError } from '../driver/errors.js';
import type { NativeDomain, NativeDomainInfo } from '../native.js';
import type { EventWatch } from './event-watch.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { powerState, SHUTTING_DOWN } from './states.js';

/** VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | SNAPSHOTS_METADATA | NVRAM | CHECKPOINTS_METADATA: nothing may outlive the domain. */
const UNDEFINE_ALL = 1 | 2 | 4 | 16;
/** VIR_DOMAIN_START_PAUSED */
const START_PAUSED = 1;
/** virDomainShutdown's own choice, as Nova: the agent in the guest where there is one that answers, else the ACPI button. */
const AGENT_OR_ACPI = 0;

export class Domains {
  readonly #hypervisor: Hypervisor;
  readonly #startTimeoutMs: number;

  constructor(hypervisor: Hypervisor, startTimeoutMs: number) {
    this.#hypervisor = hypervisor;
    this.#startTimeoutMs = startTimeoutMs;
  }

  /** Undefined where libvirt does not know it. */
  async find(uuid: string, context: CallContext): Promise<NativeDomain | undefined> {
    try {
      return await this.#hypervisor.domain(uuid, context);
    } catch (error) {
      if (ComputeError.is(error) && error.code === 'INSTANCE_NOT_FOUND') return undefined;
      throw error;
    }
  }

  async define(xml: string, context: CallContext): Promise<NativeDomain> {
    return await this.#hypervisor.define(xml, { ...context, waitOnAbort: true });
  }

  async info(domain: NativeDomain, context: CallContext): Promise<NativeDomainInfo> {
    return await this.#hypervisor.onDomain(domain, context, (d, id) => d.info(id));
  }

  /** Starts it and resolves when libvirt has told of it. A guest that dies at once is `START_FAILED`, not a wait. */
  async start(domain: NativeDomain, context: CallContext, paused = false): Promise<void> {
    // Before the call: the event may come before its return.
    using watch = this.#hypervisor.watch(domain.uuid, ['started', 'stopped']);
    try {
      await this.#hypervisor.onDomain(domain, { ...context, waitOnAbort: true }, (d, id) =>
        d.start(paused ? START_PAUSED : 0, id),
      );
    } catch (error) {
      throw startFailed(error, context);
    }
    for (;;) {
      const seen = await watch.next({ ...context, timeoutMs: this.#startTimeoutMs });
      if (seen.event === 'started') return;
      // A stop from before this start may still be on its way to us.
      const info = await this.info(domain, context);
      if (powerState(info.state) === 'shutdown') {
        throw new ComputeError(
          'START_FAILED',
          `instance ${domain.uuid} stopped while it started (${seen.detail}); see its log below the libvirt root`,
          context,
        );
      }
    }
  }

  /** Pulls the plug. Not running is success. */
  async stop(domain: NativeDomain, context: CallContext): Promise<void> {
    try {
      // Waited for: until it returns libvirt has the guest for running, and one that is aborted could not be undone.
      await this.#hypervisor.onDomain(domain, { ...context, waitOnAbort: true }, (d, id) => d.destroy(0, id));
    } catch (error) {
      if (!gone(error)) throw error;
    }
  }

  /**
   * Asks the guest to shut down, again at every interval, and says whether it did in time.
   * A guest that does not listen to ACPI is no error here: the caller decides what comes then.
   */
  async shutdown(
    domain: NativeDomain,
    limits: { readonly timeoutMs: number; readonly retryIntervalMs: number },
    context: CallContext,
  ): Promise<boolean> {
    using watch = this.#hypervisor.watch(domain.uuid, ['stopped']);
    const end = performance.now() + limits.timeoutMs;
    for (;;) {
      try {
        // An agent that takes the request and does nothing keeps libvirt waiting for a minute.
        const limited = { ...context, timeoutMs: Math.max(1, end - performance.now()) };
        await this.#hypervisor.onDomain(domain, limited, (d, id) => d.shutdown(AGENT_OR_ACPI, id));
      } catch (error) {
        if (gone(error)) return true;
        if (!timedOut(error)) throw error;
      }
      const left = end - performance.now();
      if (left <= 0) return false;
      if (await this.#stopped(domain, watch, Math.min(left, limits.retryIntervalMs), context)) return true;
    }
  }

  async suspend(domain: NativeDomain, context: CallContext): Promise<void> {
    await this.#hypervisor.onDomain(domain, context, (d, id) => d.suspend(id));
  }

  async resume(domain: NativeDomain, context: CallContext): Promise<void> {
    await this.#hypervisor.onDomain(domain, context, (d, id) => d.resume(id));
  }

  /** Stops and forgets it, also where libvirtd is restarted meanwhile. Idempotent. */
  async remove(uuid: string, context: CallContext): Promise<void> {
    await this.#hypervisor.patiently(context, () => this.#remove(uuid, context));
  }

  async #remove(uuid: string, context: CallContext): Promise<void> {
    const domain = await this.find(uuid, context);
    if (!domain) return;
    await this.stop(domain, context);
    try {
      await this.#hypervisor.onDomain(domain, context, (d, id) => d.undefine(UNDEFINE_ALL, id));
    } catch (error) {
      if (!(ComputeError.is(error) && error.code === 'INSTANCE_NOT_FOUND')) throw error;
    }
  }

  async #stopped(
    domain: NativeDomain,
    watch: EventWatch,
    timeoutMs: number,
    context: CallContext,
  ): Promise<boolean> {
    try {
      await watch.next({ ...context, timeoutMs });
      return true;
    } catch (error) {
      if (!timedOut(error)) throw error;
      // An event can be lost with a connection; the state itself can't.
      const { state } = await this.info(domain, context);
      return powerState(state) === 'shutdown' && state !== SHUTTING_DOWN;
    }
  }
}

/** It does not run (VIR_ERR_OPERATION_INVALID), or does not exist any more. */
function gone(error: unknown): boolean {
  return ComputeError.is(error) && (error.code === 'INVALID_STATE' || error.code === 'INSTANCE_NOT_FOUND');
}

function timedOut(error: unknown): boolean {
  return ComputeError.is(error) && error.code === 'TIMEOUT';
}

/** What QEMU or libvirt refused at start; a lost connection, an abort and a deadline keep their own code. */
function startFailed(error: unknown, context: CallContext): unknown {
  if (!(error instanceof LibvirtError) || error.code !== 'HYPERVISOR') return error;
  return new LibvirtError('START_FAILED', error.message, error.libvirt, { ...context, cause: error });
}
