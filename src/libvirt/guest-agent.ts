// What the agent in the guest is asked: each question has a time limit of its own, and one answer where there is no agent.
import { setTimeout } from 'node:timers/promises';
import type { CallOptions } from '../driver/compute-driver.js';
import { ComputeError, LibvirtError } from '../driver/errors.js';
import type { Instance } from '../driver/model.js';
import type { ImageLogger } from '../image/types.js';
import type { NativeDomain } from '../native.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { instanceCall, wrongState } from './instance-call.js';
import { powerState } from './states.js';

const AGENT_TIMEOUT_MS = 10_000;
/** Of what is done by the way: a guest whose agent hangs costs no more. */
const BY_THE_WAY_SECONDS = 2;
const AGAIN_MS = 100;
/** libvirt's limit counts for the agent's greeting and once more for its answer. */
const EXTRA_MS = 2_000;
const USER_MAX = 256;
const PASSWORD_MAX = 4096;

/** VIR_ERR_ARGUMENT_UNSUPPORTED: no channel. VIR_ERR_AGENT_UNRESPONSIVE and _UNSYNCED: nobody at its other end. */
const NO_CHANNEL = 74;
const SILENT: ReadonlySet<number> = new Set([86, 97]);

export class GuestAgent {
  readonly #hypervisor: Hypervisor;
  readonly #logger: ImageLogger;

  constructor(hypervisor: Hypervisor, logger: ImageLogger) {
    this.#hypervisor = hypervisor;
    this.#logger = logger;
  }

  /** By virDomainGetTime: libvirt greets the agent (guest-sync) before any question, and this one every agent knows. */
  async ping(uuid: string, options: CallOptions): Promise<void> {
    await this.#ask('pingAgent', uuid, options, (d, seconds, id) => d.guestTime(seconds, id));
  }

  async setAdminPassword(
    { uuid, image }: Pick<Instance, 'uuid' | 'image'>,
    password: string,
    options: CallOptions & { readonly user?: string },
  ): Promise<void> {
    const operation = 'setAdminPassword';
    const { user = image.properties['os_type'] === 'windows' ? 'Administrator' : 'root' } = options;
    checkText('user', user, USER_MAX, operation, uuid);
    checkText('password', password, PASSWORD_MAX, operation, uuid);
    await this.#ask(operation, uuid, options, (d, seconds, id) =>
      d.setUserPassword(user, password, seconds, id),
    );
  }

  async setTime(uuid: string, options: CallOptions): Promise<void> {
    await this.#ask('setGuestTime', uuid, options, (d, seconds, id) =>
      d.setGuestTime(Date.now(), seconds, id),
    );
  }

  /**
   * After a guest slept, as Nova: without an agent its clock is late, which is no failure of the call. An agent whose guest
   * has just been loaded from disk may take a moment to answer: it is asked again for `patienceMs`.
   */
  async setTimeByTheWay(domain: NativeDomain, patienceMs: number, context: CallContext): Promise<void> {
    const end = performance.now() + patienceMs;
    for (;;) {
      try {
        return await this.#hypervisor.onDomain(domain, context, (d, id) =>
          d.setGuestTime(Date.now(), BY_THE_WAY_SECONDS, id),
        );
      } catch (error) {
        if (context.signal?.aborted) throw error;
        const silent = error instanceof LibvirtError && SILENT.has(error.libvirt.libvirtCode);
        if (!silent || performance.now() >= end) {
          this.#logger.debug("the guest's clock was not set", { uuid: domain.uuid, error: String(error) });
          return;
        }
        await setTimeout(AGAIN_MS, undefined, { signal: context.signal }).catch(() => undefined);
      }
    }
  }

  async freeze(uuid: string, options: CallOptions): Promise<number> {
    return await this.#ask('quiesce', uuid, options, (d, seconds, id) => d.freeze(seconds, id));
  }

  async thaw(uuid: string, options: CallOptions): Promise<number> {
    return await this.#ask('unquiesce', uuid, options, (d, seconds, id) => d.thaw(seconds, id));
  }

  async #ask<T>(
    operation: string,
    uuid: string,
    options: CallOptions,
    question: (domain: NativeDomain, timeoutSeconds: number, callId: number) => Promise<T>,
  ): Promise<T> {
    const { signal, timeoutMs = AGENT_TIMEOUT_MS } = options;
    const seconds = Math.max(1, Math.min(86_400, Math.ceil(timeoutMs / 1000)));
    const limits = { signal, timeoutMs: timeoutMs + EXTRA_MS };
    return await instanceCall(operation, uuid, limits, limits.timeoutMs, async (context) => {
      const domain = await this.#hypervisor.domain(uuid, context);
      const info = await this.#hypervisor.onDomain(domain, context, (d, id) => d.info(id));
      const state = powerState(info.state, info.saved);
      if (state !== 'running') throw wrongState(context, state);
      try {
        return await this.#hypervisor.onDomain(domain, context, (d, id) => question(d, seconds, id));
      } catch (error) {
        throw explain(error, operation, uuid);
      }
    });
  }
}

function explain(error: unknown, operation: string, instanceUuid: string): unknown {
  if (!(error instanceof LibvirtError)) return error;
  const { libvirtCode } = error.libvirt;
  const context = { operation, instanceUuid, cause: error };
  if (libvirtCode === NO_CHANNEL) {
    return new ComputeError(
      'AGENT_UNAVAILABLE',
      `${operation}: instance ${instanceUuid} has no channel to a guest agent; give its image the property hw_qemu_guest_agent=yes`,
      { ...context, details: { reason: 'none' } },
    );
  }
  if (SILENT.has(libvirtCode)) {
    return new ComputeError(
      'AGENT_UNAVAILABLE',
      `${operation}: the guest agent of instance ${instanceUuid} does not answer; see that qemu-guest-agent runs in the guest`,
      { ...context, retryable: true, details: { reason: 'silent' } },
    );
  }
  if (error.code !== 'HYPERVISOR') return error;
  return new ComputeError(
    'AGENT_FAILED',
    `${operation}: the guest agent of instance ${instanceUuid} could not do it: ${error.message}`,
    context,
  );
}

function checkText(what: string, text: unknown, most: number, operation: string, instanceUuid: string): void {
  // Never the text itself: it may be a password.
  const wrong =
    typeof text !== 'string' || text === ''
      ? 'must be a text that is not empty'
      : text.length > most
        ? `must not have more than ${most} characters`
        : text.includes('\0')
          ? 'must not hold a NUL'
          : undefined;
  if (wrong === undefined) return;
  throw new ComputeError('INVALID_ARGUMENT', `${operation}: ${what} ${wrong}`, { operation, instanceUuid });
}
