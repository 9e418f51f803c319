// The memory of a suspended instance: libvirt's managed save image, written, loaded, or given up.
import { ComputeError } from '../driver/errors.js';
import type { ImageLogger } from '../image/types.js';
import type { NativeDomain } from '../native.js';
import type { Domains } from './domains.js';
import type { CallContext, Hypervisor } from './hypervisor.js';

/** Gigabytes of memory on a slow disk. */
const SAVE_TIMEOUT_MS = 3_600_000;
/**
 * A start can fail for a reason that is not the memory's and passes: two libvirts of one host that chose the same VNC port.
 * The memory is given up for what comes again.
 */
const LOAD_ATTEMPTS = 3;

export class SavedMemory {
  readonly #hypervisor: Hypervisor;
  readonly #domains: Domains;
  readonly #logger: ImageLogger;

  constructor(hypervisor: Hypervisor, domains: Domains, logger: ImageLogger) {
    this.#hypervisor = hypervisor;
    this.#domains = domains;
    this.#logger = logger;
  }

  /** virDomainManagedSave. When the signal fires the job is ended, and the guest runs on before this rejects. */
  async save(domain: NativeDomain, context: CallContext & { readonly signal: AbortSignal }): Promise<void> {
    const { signal, ...unsignalled } = context;
    // libvirt looks for an abort between two steps of the job: one that comes before the job began is not seen.
    const abort = async (): Promise<void> => {
      while (!saved.over && !(await this.#abortJob(domain, unsignalled))) await pause();
    };
    const saved = { over: false };
    const onAbort = (): void => {
      abort().catch((error: unknown) => {
        this.#logger.warn('a suspend could not be ended', { uuid: domain.uuid, error: String(error) });
      });
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const settled = { ...context, waitOnAbort: true, timeoutMs: SAVE_TIMEOUT_MS };
      await this.#hypervisor.onDomain(domain, settled, (d, id) => d.managedSave(id));
    } catch (error) {
      if (!signal.aborted) throw error;
      // Whatever the job ended with, by our own doing.
      if (ComputeError.is(error) && error.code === 'CONNECTION_LOST') throw error;
      const { saved: late } = await this.#domains.info(domain, unsignalled);
      if (late) await this.#domains.start(domain, unsignalled);
      throw new ComputeError('ABORTED', `${context.operation} was aborted`, { ...unsignalled, cause: error });
    } finally {
      saved.over = true;
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Starts the domain from its memory. False where that could not be loaded, three times: it is discarded then, and the domain stopped.
   * Nova: a hard reboot out of the same trouble.
   */
  async load(domain: NativeDomain, context: CallContext): Promise<boolean> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#domains.start(domain, context);
        return true;
      } catch (error) {
        if (!(ComputeError.is(error) && error.code === 'START_FAILED')) throw error;
        if (attempt < LOAD_ATTEMPTS) continue;
        await this.discard(domain, context);
        const { uuid, name } = domain;
        this.#logger.error('the memory of a suspended instance could not be loaded and was discarded', {
          uuid,
          error: error.message,
        });
        this.#hypervisor.events.publish({ type: 'saved-state-lost', uuid, name, detail: error.message });
        return false;
      }
    }
  }

  /** Without any is success. */
  async discard(domain: NativeDomain, context: CallContext): Promise<void> {
    await this.#hypervisor.onDomain(domain, context, (d, id) => d.managedSaveRemove(id));
  }

  async #abortJob(domain: NativeDomain, context: CallContext): Promise<boolean> {
    return await this.#hypervisor.onDomain(domain, context, (d, id) => d.abortJob(id));
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 20);
  });
}
