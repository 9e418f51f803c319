// network_data.json: the interfaces of an instance and their addresses, for a guest that cannot ask anybody.
import { isIPv4, isIPv6 } from 'node:net';
import type { Vif, VifAddress } from '../driver/model.js';

/** Nova: nova/virt/netutils.py, get_network_metadata. An interface without an address of its own gets it by DHCP. */
export function networkData(vifs: readonly Vif[]): unknown {
  const networks = vifs.flatMap((vif) =>
    vif.addresses?.length
      ? vif.addresses.map((address) => ({ ...staticNetwork(address, vif.dnsServers), link: vif.tap }))
      : [{ type: 'ipv4_dhcp', link: vif.tap }],
  );
  return {
    links: vifs.map(({ tap, id, mac, mtu }) => ({
      id: tap,
      vif_id: id,
      type: 'bridge',
      ethernet_mac_address: mac,
      ...(mtu !== undefined && { mtu }),
    })),
    networks: networks.map((network, index) => ({ id: `network${index}`, ...network })),
    services: services([...new Set(vifs.flatMap(({ dnsServers = [] }) => dnsServers))]),
  };
}

function staticNetwork(
  { address, prefixLength, gateway }: VifAddress,
  dnsServers: readonly string[] = [],
): object {
  const [type, any, bits, isOfFamily] = isIPv4(address)
    ? (['ipv4', '0.0.0.0', 32, isIPv4] as const)
    : (['ipv6', '::', 128, isIPv6] as const);
  return {
    type,
    ip_address: address,
    netmask: netmask(prefixLength, bits),
    routes: gateway === undefined ? [] : [{ network: any, netmask: any, gateway }],
    services: services(dnsServers.filter((server) => isOfFamily(server))),
  };
}

function services(addresses: readonly string[]): object[] {
  return addresses.map((address) => ({ type: 'dns', address }));
}

/** `255.255.255.0`, `ffff:ffff:ffff:ffff::`. */
export function netmask(prefixLength: number, bits: 32 | 128): string {
  const [width, group, radix, separator] =
    bits === 32 ? ([8, 4, 10, '.'] as const) : ([16, 8, 16, ':'] as const);
  const words = Array.from({ length: group }, (_, index) => {
    const ones = Math.min(width, Math.max(0, prefixLength - index * width));
    return (2 ** width - 2 ** (width - ones)).toString(radix);
  });
  if (bits === 32) return words.join(separator);
  const used = words.filter((word) => word !== '0');
  return used.length === group ? used.join(separator) : `${used.join(separator)}::`;
}
