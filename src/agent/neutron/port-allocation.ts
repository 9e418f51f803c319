// The ports of an instance: made, or taken from its user, bound to this host, and given back.
import { ComputeError } from '../../driver/errors.js';
import { persist } from '../persist.js';
import type { Neutron } from './neutron.js';
import { PortBinding, type PortOwner } from './port-binding.js';
import type { Network, Port } from './resources.js';

/** One interface: on a network, with an address of it, or a port that the user made. */
export interface PortWish {
  readonly networkId?: string;
  readonly portId?: string;
  readonly address?: string;
}

/** `any`: the one network that the project has; `auto`: that, or one that Neutron makes for it. */
export type NetworkWish = 'none' | 'any' | 'auto' | readonly PortWish[];

export interface AllocatedPorts {
  /** In the order of the request. */
  readonly ports: readonly Port[];
  /** Those that the user gave. */
  readonly given: ReadonlySet<string>;
}

export class PortAllocation {
  readonly #neutron: Neutron;
  readonly #binding: PortBinding;
  readonly #signal: AbortSignal;

  constructor(neutron: Neutron, hostName: string, signal: AbortSignal) {
    this.#neutron = neutron;
    this.#binding = new PortBinding(neutron, hostName, signal);
    this.#signal = signal;
  }

  /**
   * Ports that the instance has already, of an earlier try, are taken for the same wish: nothing is made twice. `others` are
   * no part of it. What a failure leaves is for {@link release}. Nova: nova/network/neutron.py, API.allocate_for_instance.
   */
  async allocate(
    owner: PortOwner,
    wish: Exclude<NetworkWish, 'none'>,
    securityGroups: readonly string[],
    others: ReadonlySet<string> = new Set(),
  ): Promise<AllocatedPorts> {
    const own = (await this.#ownPorts(owner)).filter(({ id }) => !others.has(id));
    const wishes = typeof wish === 'string' ? await this.#onlyNetwork(owner, wish, own) : wish;
    const named = await this.#namedPorts(owner, wishes);
    const networkOf = (one: PortWish): string =>
      named.get(one.portId ?? '')?.network_id ?? String(one.networkId);
    const networks = await this.#networks(owner, wishes.map(networkOf));
    const groups = await this.#groupIds(owner, securityGroups);
    const claimed = new Set([...named.keys(), ...others]);
    const ports: Port[] = [];
    for (const one of wishes) {
      const network = networks.get(networkOf(one)) as Network;
      const port = named.get(one.portId ?? '');
      if (!port) refuseGroups(network, groups);
      const bound = port
        ? await this.#binding.bind(owner, network, port)
        : await this.#create(owner, network, one, groups, claimed);
      claimed.add(bound.id);
      ports.push(bound);
    }
    return { ports, given: new Set(named.keys()) };
  }

  /**
   * Of all its ports, or of some: unbinds those that were given, deletes the others, as Nova whosever they are. May be done
   * twice.
   */
  async release(
    uuid: string,
    given: ReadonlySet<string>,
    isMeant: (portId: string) => boolean = () => true,
  ): Promise<void> {
    for (const port of await this.portsOf(uuid)) {
      if (!isMeant(port.id)) continue;
      if (given.has(port.id)) await this.#binding.giveBack(port);
      else await persist(this.#signal, () => this.#neutron.deletePort(port.id));
    }
  }

  /**
   * Binds all that an instance has already to this host, in the order of `known`. What a failure leaves is for
   * {@link leaveHost}. Nova: API.setup_instance_network_on_host.
   */
  async bringHere(owner: PortOwner, known: readonly string[]): Promise<readonly Port[]> {
    const own = await this.#ownPorts(owner);
    for (const port of own) refuseResources(port, owner);
    const place = ({ id }: Port): number => (known.includes(id) ? known.indexOf(id) : known.length);
    const ports: Port[] = [];
    for (const port of own.toSorted((one, other) => place(one) - place(other))) {
      ports.push(await this.#binding.bringHere(owner, port));
    }
    return ports;
  }

  /** No port of the instance is bound to this host any more. May be done twice. */
  async leaveHost(uuid: string): Promise<void> {
    for (const port of await this.portsOf(uuid)) await this.#binding.leaveHost(port);
  }

  async portsOf(uuid: string): Promise<readonly Port[]> {
    return await persist(this.#signal, () => this.#neutron.ports({ device_id: uuid }));
  }

  /** Anybody may write an instance's uuid on a port of his own. */
  async #ownPorts({ uuid, projectId }: PortOwner): Promise<readonly Port[]> {
    return (await this.portsOf(uuid)).filter((port) => port.tenant_id === projectId);
  }

  async #namedPorts(owner: PortOwner, wishes: readonly PortWish[]): Promise<ReadonlyMap<string, Port>> {
    const ports = new Map<string, Port>();
    for (const { portId } of wishes) {
      if (portId === undefined) continue;
      const port = await persist(this.#signal, () => this.#neutron.port(portId));
      if (!port) throw refused('PortNotFound', `there is no port ${portId}`, owner);
      refusePort(port, owner);
      ports.set(portId, port);
    }
    return ports;
  }

  /** Of the project's own and the shared ones; none where it has none, and nobody asks for one to be made. */
  async #onlyNetwork(
    owner: PortOwner,
    wish: 'any' | 'auto',
    own: readonly Port[],
  ): Promise<readonly PortWish[]> {
    const { projectId } = owner;
    // An earlier try may have chosen before there was a second one.
    const [port] = own;
    if (port) return [{ networkId: port.network_id }];
    const isReady = wish === 'auto' ? { admin_state_up: 'true' } : {};
    const networks = await persist(this.#signal, async () => [
      ...(await this.#neutron.networks({ tenant_id: projectId, shared: 'false', ...isReady })),
      ...(await this.#neutron.networks({ shared: 'true' })),
    ]);
    const [network, second] = networks;
    if (second)
      throw refused('NetworkAmbiguous', `project ${projectId} has several networks: name one`, owner);
    if (network) return [{ networkId: network.id }];
    if (wish === 'any') return [];
    const made = await persist(this.#signal, () => this.#neutron.autoAllocatedNetwork(projectId));
    return [{ networkId: made }];
  }

  async #networks(owner: PortOwner, ids: readonly string[]): Promise<ReadonlyMap<string, Network>> {
    if (ids.length === 0) return new Map();
    const found = await persist(this.#signal, () => this.#neutron.networks({ id: [...new Set(ids)] }));
    const networks = new Map(found.map((network) => [network.id, network]));
    for (const id of ids) {
      const network = networks.get(id);
      if (!network) throw refused('NetworkNotFound', `there is no network ${id}`, owner);
      if (network['router:external'] && !network.shared && !owner.isAdmin) {
        throw refused('ExternalNetworkAttachForbidden', `network ${id} is external`, owner);
      }
    }
    return networks;
  }

  /** By name or id; Neutron adds the default one by itself. */
  async #groupIds(owner: PortOwner, wanted: readonly string[]): Promise<readonly string[]> {
    if (wanted.every((one) => one === 'default')) return [];
    const groups = await persist(this.#signal, () => this.#neutron.securityGroups(owner.projectId));
    return wanted.map((one) => {
      const named = groups.filter(({ name }) => name === one);
      const group = named[0] ?? groups.find(({ id }) => id === one);
      if (group && named.length < 2) return group.id;
      const why = group ? 'several security groups are called' : 'there is no security group';
      throw refused(group ? 'NoUniqueMatch' : 'SecurityGroupNotFound', `${why} ${one}`, owner);
    });
  }

  /** Where the answer was lost, the port may be there. */
  async #create(
    owner: PortOwner,
    network: Network,
    { address }: PortWish,
    groups: readonly string[],
    claimed: ReadonlySet<string>,
  ): Promise<Port> {
    const binding = await this.#binding.fields(owner, network);
    const port = await persist(this.#signal, async () => {
      const standing = (await this.#ownPorts(owner)).find(
        ({ id, network_id, fixed_ips: ips }) =>
          network_id === network.id &&
          !claimed.has(id) &&
          (address === undefined || ips.some((ip) => ip.ip_address === address)),
      );
      if (standing) return await this.#neutron.updatePort(standing.id, binding);
      return await this.#neutron.createPort({
        ...binding,
        network_id: network.id,
        tenant_id: owner.projectId,
        admin_state_up: true,
        ...(address !== undefined && { fixed_ips: [{ ip_address: address }] }),
        ...(groups.length > 0 && { security_groups: groups }),
      });
    });
    refuseResources(port, owner);
    return port;
  }
}

function refusePort(port: Port, owner: PortOwner): void {
  const { id, tenant_id: project, device_id: device, dns_name: name } = port;
  if (project !== owner.projectId) throw refused('PortNotUsable', `port ${id} is of another project`, owner);
  if (device !== '' && device !== owner.uuid) throw refused('PortInUse', `port ${id} is in use`, owner);
  if (name && name !== owner.hostname) {
    throw refused('PortNotUsableDNS', `port ${id} is for another host name`, owner);
  }
  refuseResources(port, owner);
}

/** Bandwidth that the scheduler would have to have set aside. */
function refuseResources({ id, resource_request: request }: Port, owner: PortOwner): void {
  if (request == null) return;
  throw new ComputeError('UNSUPPORTED', `port ${id} asks for resources, which this host does not set aside`, {
    operation: 'networks',
    instanceUuid: owner.uuid,
  });
}

/** Neutron applies groups to addresses alone. */
function refuseGroups(network: Network, groups: readonly string[]): void {
  const { port_security_enabled: isSecure, subnets, id } = network;
  if (isSecure ? subnets.length > 0 : groups.length === 0) return;
  throw new ComputeError('NEUTRON_FAILED', `security groups cannot be applied on network ${id}`, {
    operation: 'networks',
    details: { type: 'SecurityGroupCannotBeApplied' },
  });
}

/** As Neutron, or Nova before it is asked, would have it. */
export function refused(type: string, message: string, { uuid }: Pick<PortOwner, 'uuid'>): ComputeError {
  return new ComputeError('NEUTRON_FAILED', message, {
    operation: 'networks',
    instanceUuid: uuid,
    details: { type },
  });
}
