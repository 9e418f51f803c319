// To which host a port is bound, and whose it is: this host and an instance, or nobody.
import { persist } from '../persist.js';
import { type Neutron, NeutronError } from './neutron.js';
import type { Network, Port } from './resources.js';

/** Whose ports they are. */
export interface PortOwner {
  readonly uuid: string;
  readonly projectId: string;
  readonly hostname: string | undefined;
  readonly availabilityZone: string | undefined;
  /** Of the request: an administrator may use external networks. */
  readonly isAdmin: boolean;
}

const DNS = 'dns-integration';
/** Of the binding profile: what a host puts there. */
const HOST_KEYS: readonly string[] = [
  'pci_vendor_info',
  'pci_slot',
  'physical_network',
  'card_serial_number',
  'vf_num',
  'pf_mac_address',
  'device_mac_address',
];

/** While Neutron is away it waits for it. Each may be done twice. */
export class PortBinding {
  readonly #neutron: Neutron;
  readonly #hostName: string;
  readonly #signal: AbortSignal;

  constructor(neutron: Neutron, hostName: string, signal: AbortSignal) {
    this.#neutron = neutron;
    this.#hostName = hostName;
    this.#signal = signal;
  }

  /** Of a port that becomes the instance's. A network with a domain of its own leaves the name to its user. */
  async fields(owner: PortOwner, network: Network): Promise<Record<string, unknown>> {
    const isNamed = !network.dns_domain && owner.hostname !== undefined && (await this.#hasDns());
    return { device_id: owner.uuid, ...this.#here(owner), ...(isNamed && { dns_name: owner.hostname }) };
  }

  async bind(owner: PortOwner, network: Network, { id }: Port): Promise<Port> {
    return await this.#update(id, await this.fields(owner, network));
  }

  /** One that is the instance's already. Nova: nova/network/neutron.py, API._update_port_binding_for_instance. */
  async bringHere(owner: PortOwner, { id }: Port): Promise<Port> {
    return await this.#update(id, this.#here(owner));
  }

  /**
   * It stays the instance's, which leaves this host, and Neutron has it as not plugged in: also this host waits for it, should
   * the instance come back. A port that another host has bound meanwhile, or that is gone, is left alone.
   */
  async leaveHost({ id, 'binding:host_id': host }: Port): Promise<void> {
    if (host === this.#hostName) await this.#updateIfThere(id, { 'binding:host_id': null });
  }

  /** It is its user's alone again. One that is gone is left alone. */
  async giveBack({ id, 'binding:profile': profile }: Port): Promise<void> {
    const kept = Object.entries(profile ?? {}).filter(([key]) => !HOST_KEYS.includes(key));
    await this.#updateIfThere(id, {
      device_id: '',
      device_owner: '',
      'binding:host_id': null,
      'binding:profile': Object.fromEntries(kept),
      ...((await this.#hasDns()) && { dns_name: '' }),
    });
  }

  #here({ availabilityZone }: PortOwner): Record<string, unknown> {
    return {
      device_owner: `compute:${availabilityZone ?? 'nova'}`,
      'binding:host_id': this.#hostName,
    };
  }

  async #update(id: string, fields: Readonly<Record<string, unknown>>): Promise<Port> {
    return await persist(this.#signal, () => this.#neutron.updatePort(id, fields));
  }

  async #updateIfThere(id: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      await this.#update(id, fields);
    } catch (error) {
      if (!NeutronError.of(error, 'PortNotFound')) throw error;
    }
  }

  async #hasDns(): Promise<boolean> {
    return await persist(this.#signal, () => this.#neutron.hasExtension(DNS));
  }
}
