// A port of Neutron's as the node is asked for its interface. What this host cannot plug in is refused.
import { ComputeError } from '../../driver/errors.js';
import type { VifAddress } from '../../driver/model.js';
import type { NetworkRequest } from '../../node/types.js';
import type { CachedVif } from './network-info.js';

/** The node takes so many of a VIF. */
const MOST_DNS_SERVERS = 8;

/**
 * Bridges of Linux and of Open vSwitch, without a hybrid plug. Throws `NETWORK_FAILED` where Neutron could not bind the port
 * to this host, and `UNSUPPORTED` for the others. Nova: nova/network/os_vif_util.py.
 */
export function vifRequest(vif: CachedVif): NetworkRequest {
  const { id, address, network, type } = vif;
  const { bridge } = network;
  if (type === 'binding_failed' || type === 'unbound' || type === null) {
    throw new ComputeError(
      'NETWORK_FAILED',
      `Neutron cannot bind port ${id} to this host: ${type ?? 'unbound'}`,
      {
        operation: 'bind a port',
        details: { portId: id, vifType: type },
      },
    );
  }
  const isPlain = vif.vnic_type === 'normal' && vif.details['ovs_hybrid_plug'] !== true;
  if (!isPlain || (type !== 'bridge' && type !== 'ovs') || bridge === null) {
    throw new ComputeError(
      'UNSUPPORTED',
      `port ${id} is of the kind ${type}, ${vif.vnic_type}, which this host cannot plug in`,
      { operation: 'plug a port in', details: { portId: id, vifType: type, vnicType: vif.vnic_type } },
    );
  }
  const { mtu } = network.meta;
  const dnsServers = network.subnets.flatMap(({ dns }) => dns.flatMap((server) => server.address ?? []));
  return {
    portId: id,
    mac: address,
    bridge,
    ...(type === 'ovs' && { virtualPort: 'openvswitch' as const }),
    ...(typeof mtu === 'number' && mtu > 0 && { mtu }),
    ...(!asksByDhcp(vif) && { addresses: addressesOf(vif) }),
    dnsServers: [...new Set(dnsServers)].slice(0, MOST_DNS_SERVERS),
  };
}

/** Where all its subnets are served, the guest is told no address, as by Nova. */
function asksByDhcp({ network: { subnets } }: CachedVif): boolean {
  return subnets.every(({ meta }) => meta['dhcp_server'] !== undefined);
}

function addressesOf({ network: { subnets } }: CachedVif): VifAddress[] {
  return subnets.flatMap(({ cidr, gateway, ips }) =>
    ips.flatMap(({ address }) =>
      address === null
        ? []
        : [
            {
              address,
              prefixLength: Number(cidr.split('/')[1]),
              ...(gateway.address !== null && { gateway: gateway.address }),
            },
          ],
    ),
  );
}
