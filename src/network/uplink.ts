// How a bridge reaches a physical network: an interface of the host, or a VLAN of one, is a port of it.
import { ComputeError } from '../driver/errors.js';
import { BRIDGE_ALIAS, type Link, type Links } from './links.js';
import { checkInterfaceName, subInterfaceName } from './names.js';

export interface Uplink {
  /** Interface of the host. */
  readonly physicalInterface: string;
  /** 802.1Q tag of the network on that interface, 1 to 4094; without one its frames carry none (Neutron's flat network). */
  readonly vlan?: number | undefined;
  /** Join an interface that has IP addresses: the host is no longer reached by them. Default false: refused. */
  readonly evenWithAddresses?: boolean | undefined;
}

/** Name of the bridge's port: the interface, or the VLAN's sub-interface of it. Throws `INVALID_ARGUMENT`. */
export function uplinkPort({ physicalInterface, vlan }: Uplink): string {
  return vlan === undefined
    ? checkInterfaceName(physicalInterface)
    : subInterfaceName(physicalInterface, vlan);
}

/**
 * Makes it a port of the bridge; idempotent. The ports of a bridge that somebody else made are its owner's affair: there it
 * must be one already. No address moves to the bridge. Rejects with `NETWORK_FAILED`, `INVALID_ARGUMENT`.
 */
export async function plugUplink(links: Links, bridge: string, uplink: Uplink, mtu: number): Promise<void> {
  const port = uplinkPort(uplink);
  const { physicalInterface, vlan, evenWithAddresses = false } = uplink;
  const physical = await links.getLink(physicalInterface);
  if (!physical) throw refused(bridge, port, `the host has no interface ${physicalInterface}`);
  const standing = vlan === undefined ? physical : await links.getLink(port);
  const joined = standing?.master === bridge;
  if ((await links.getLink(bridge))?.alias !== BRIDGE_ALIAS) {
    if (joined) return;
    throw refused(
      bridge,
      port,
      'the bridge is not one of ours; have its owner add the port, or name another',
    );
  }
  if (mtu > physical.mtu) {
    const advice = `ip link set ${physicalInterface} mtu ${mtu}`;
    throw refused(bridge, port, `an MTU of ${mtu} is above the interface's ${physical.mtu}; ${advice}`);
  }
  if (standing && !joined && !evenWithAddresses) {
    const [address] = await links.listAddresses(port);
    if (address !== undefined) {
      const loss = `it has the address ${address}, by which the host would no longer be reached`;
      throw refused(bridge, port, `${loss}; take it away, or ask for it with evenWithAddresses`);
    }
  }
  if (vlan === undefined) await links.addBridgePort(bridge, port);
  else await links.ensureVlan({ physicalInterface, vlan, bridge, mtu });
}

/**
 * Takes it from a bridge of ours that has no other port; a sub-interface that we made goes. False, and nothing done, where
 * the bridge has others. Idempotent. Rejects with `NETWORK_FAILED`.
 */
export async function unplugUplink(links: Links, bridge: string, uplink: Uplink): Promise<boolean> {
  const port = uplinkPort(uplink);
  if ((await links.listBridgePorts(bridge)).some((name) => name !== port)) return false;
  const link = await links.getLink(port);
  if (link?.master !== bridge) return true;
  if (isOurVlan(link)) await links.removeVlan(port);
  else await links.removeBridgePort(bridge, port);
  return true;
}

function isOurVlan({ kind, alias }: Link): boolean {
  return kind === 'vlan' && alias === BRIDGE_ALIAS;
}

function refused(bridge: string, port: string, why: string): ComputeError {
  return new ComputeError('NETWORK_FAILED', `${port} cannot be a port of the bridge ${bridge}: ${why}`, {
    operation: 'plug',
    details: { bridge, link: port },
  });
}
