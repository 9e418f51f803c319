// What Nova's database keeps of an instance's ports, its info cache: the JSON of nova/network/model.py.
import { isIPv6 } from 'node:net';
import type { Neutron } from './neutron.js';
import type { FloatingIp, Network, Port, Subnet } from './resources.js';

export interface Ip {
  readonly address: string | null;
  readonly type: string;
  readonly version: 4 | 6 | null;
  readonly meta: Readonly<Record<string, unknown>>;
}

export interface VifSubnet {
  readonly cidr: string;
  readonly dns: readonly Ip[];
  readonly gateway: Ip;
  readonly ips: readonly (Ip & { readonly floating_ips: readonly Ip[] })[];
  readonly routes: readonly unknown[];
  readonly version: 4 | 6;
  readonly meta: Readonly<Record<string, unknown>>;
}

/** Nova's VIF, as far as this host reads it; what else it finds in a cache it keeps. */
export interface CachedVif {
  readonly id: string;
  readonly address: string;
  readonly network: {
    readonly id: string;
    readonly bridge: string | null;
    readonly label: string | null;
    readonly subnets: readonly VifSubnet[];
    readonly meta: Readonly<Record<string, unknown>>;
  };
  readonly type: string | null;
  readonly details: Readonly<Record<string, unknown>>;
  readonly vnic_type: string;
  readonly active: boolean;
  /** It was given by the user, and is unbound, not deleted, in the end. */
  readonly preserve_on_delete: boolean;
  readonly [field: string]: unknown;
}

/** Nova's NIC_NAME_LEN. */
const NAME_LENGTH = 14;
const TUNNELS: readonly unknown[] = ['vxlan', 'gre', 'geneve'];

export interface NetworkInfoOptions {
  readonly ovsBridge: string;
  /** Ports that the user gave. */
  readonly given: ReadonlySet<string>;
}

/** In the order of the ports. Nova: nova/network/neutron.py, API._build_vif_model. */
export async function networkInfo(
  neutron: Neutron,
  ports: readonly Port[],
  { ovsBridge, given }: NetworkInfoOptions,
): Promise<CachedVif[]> {
  if (ports.length === 0) return [];
  const networkIds = [...new Set(ports.map(({ network_id: id }) => id))];
  const subnetIds = [...new Set(ports.flatMap((port) => port.fixed_ips.map(({ subnet_id: id }) => id)))];
  const [networks, subnets, servers, floatingIps] = await Promise.all([
    neutron.networks({ id: networkIds }),
    neutron.subnets(subnetIds),
    subnetIds.length === 0 ? [] : neutron.ports({ network_id: networkIds, device_owner: 'network:dhcp' }),
    neutron.floatingIps(ports.map(({ id }) => id)),
  ]);
  const dhcpServers = new Map(
    servers.flatMap((port) => port.fixed_ips.map((ip) => [ip.subnet_id, ip.ip_address])),
  );
  return ports.map((port) => {
    const network = networks.find(({ id }) => id === port.network_id);
    const own = subnets.filter(({ id }) => port.fixed_ips.some((ip) => ip.subnet_id === id));
    return vifOf(port, {
      preserved: given.has(port.id),
      network: networkOf(
        port,
        network,
        ovsBridge,
        own.map((one) => subnetOf(one, port, dhcpServers, floatingIps)),
      ),
    });
  });
}

function vifOf(
  port: Port,
  { preserved, network }: { readonly preserved: boolean; readonly network: CachedVif['network'] },
): CachedVif {
  const type = port['binding:vif_type'] ?? null;
  return {
    id: port.id,
    address: port.mac_address,
    network,
    type,
    details: port['binding:vif_details'] ?? {},
    devname: `tap${port.id}`.slice(0, NAME_LENGTH),
    ovs_interfaceid: type === 'ovs' ? port.id : null,
    qbh_params: null,
    qbg_params: null,
    active: isActive(port),
    vnic_type: port['binding:vnic_type'],
    profile: port['binding:profile'] ?? {},
    preserve_on_delete: preserved,
    delegate_create: true,
    meta: {},
  };
}

/** It is plugged in, or nobody is to plug it in. */
export function isActive({ status, admin_state_up: isUp }: Port): boolean {
  return status === 'ACTIVE' || !isUp;
}

function networkOf(
  port: Port,
  network: Network | undefined,
  ovsBridge: string,
  subnets: readonly VifSubnet[],
): CachedVif['network'] {
  const type = port['binding:vif_type'];
  const usual = type === 'ovs' ? ovsBridge : type === 'bridge' ? `brq${port.network_id}` : undefined;
  const named = port['binding:vif_details']?.['bridge_name'];
  const bridge = usual && (typeof named === 'string' && named !== '' ? named : usual);
  return {
    id: port.network_id,
    bridge: bridge?.slice(0, NAME_LENGTH) ?? null,
    label: network?.name ?? null,
    subnets,
    meta: {
      injected: false,
      tenant_id: network?.tenant_id ?? port.tenant_id,
      mtu: network?.mtu ?? null,
      physical_network: network?.['provider:physical_network'] ?? null,
      tunneled: TUNNELS.includes(network?.['provider:network_type']),
      ...(type === 'bridge' && { should_create_bridge: true }),
    },
  };
}

function subnetOf(
  subnet: Subnet,
  port: Port,
  dhcpServers: ReadonlyMap<string, string>,
  floatingIps: readonly FloatingIp[],
): VifSubnet {
  // Of one that Neutron serves by no port of its own: Nova says the gateway.
  const dhcpServer = dhcpServers.get(subnet.id) ?? (subnet.enable_dhcp ? subnet.gateway_ip : undefined);
  const fixed = port.fixed_ips.filter((ip) => ip.subnet_id === subnet.id).map((ip) => ip.ip_address);
  return {
    cidr: subnet.cidr,
    dns: subnet.dns_nameservers.map((server) => ip(server, 'dns')),
    gateway: ip(subnet.gateway_ip ?? null, 'gateway'),
    ips: fixed.map((address) => ({
      ...ip(address, 'fixed'),
      floating_ips: floatingIps
        .filter((one) => one.port_id === port.id && one.fixed_ip_address === address)
        .map((one) => ip(one.floating_ip_address, 'floating')),
    })),
    routes: subnet.host_routes.map(({ destination, nexthop }) => ({
      cidr: destination,
      gateway: ip(nexthop, 'gateway'),
      interface: null,
      meta: {},
    })),
    version: versionOf(subnet.cidr),
    meta: {
      ...(dhcpServer !== undefined && { dhcp_server: dhcpServer }),
      ...(subnet.ipv6_address_mode && { ipv6_address_mode: subnet.ipv6_address_mode }),
    },
  };
}

function ip(address: string | null, type: string): Ip {
  return { address, type, version: address === null ? null : versionOf(address), meta: {} };
}

function versionOf(address: string): 4 | 6 {
  return isIPv6(address.replace(/\/.*/, '')) ? 6 : 4;
}
