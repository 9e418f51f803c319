// libvirt's network filters against spoofing: whether the connection has those that an instance asks for.
import { ComputeError } from '../driver/errors.js';
import type { Vif } from '../driver/model.js';
import { checkFilterName } from '../network/names.js';
import type { CallContext, Hypervisor } from './hypervisor.js';

export class NetworkFilters {
  readonly #hypervisor: Hypervisor;
  readonly #embedded: boolean;
  readonly #usual: string | undefined;

  /** @param usual Filter of every interface that names none. */
  constructor(hypervisor: Hypervisor, embedded: boolean, usual: string | undefined) {
    this.#hypervisor = hypervisor;
    this.#embedded = embedded;
    this.#usual = usual;
  }

  /** Before any effect: without its filter an instance must not start. Rejects with `UNSUPPORTED`, `INVALID_ARGUMENT`. */
  async check(vifs: readonly Vif[], context: CallContext): Promise<void> {
    const wanted = vifs.map(({ filter = this.#usual }) => filter).filter((name) => name !== undefined);
    for (const name of new Set(wanted)) {
      checkFilterName(name);
      if (!(await this.#has(name, context))) throw this.#missing(name, context);
    }
  }

  async #has(name: string, context: CallContext): Promise<boolean> {
    if (this.#embedded) return false;
    try {
      return await this.#hypervisor.call(context, (connection, id) => connection.hasNetworkFilter(name, id));
    } catch (error) {
      if (ComputeError.is(error) && error.code === 'UNSUPPORTED') return false;
      throw error;
    }
  }

  #missing(name: string, { operation, instanceUuid }: CallContext): ComputeError {
    const why = this.#embedded
      ? 'QEMU embedded in this process has no network filters; use a libvirtd (driver option uri)'
      : `libvirtd has no such filter; install libvirt-daemon-config-nwfilter, or see virsh nwfilter-list`;
    return new ComputeError(
      'UNSUPPORTED',
      `${operation}: instance ${instanceUuid} cannot have the network filter ${name}: ${why}`,
      { operation, instanceUuid, details: { filter: name } },
    );
  }
}
