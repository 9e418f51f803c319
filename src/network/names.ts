// Names on the host and addresses of the guest: taps, bridges, MACs, as Neutron gives them.
import { createHash, randomBytes } from 'node:crypto';
import { ComputeError } from '../driver/errors.js';

/** Bridge of an instance whose request names none. */
export const DEFAULT_BRIDGE = 'br-ncompute';

/** What a link name can be here: what Linux takes (15 bytes, no slash, colon or space), less what a shell or libvirt would expand. */
const LINK_NAME = /^[A-Za-z0-9][A-Za-z0-9_.+@-]{0,14}$/;
/** Of a network filter: libvirt keeps each as a file. */
export const FILTER_NAME: RegExp = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** Neutron's name of a port's tap: `tap` and the first 11 characters of the port's UUID. Throws `INVALID_ARGUMENT`. */
export function tapName(portId: string): string {
  const id = portId.toLowerCase();
  if (!UUID.test(id)) throw invalid(`the port id ${JSON.stringify(portId)} is not a UUID`, { portId });
  return `tap${id.slice(0, 11)}`;
}

/** Throws `INVALID_ARGUMENT` where the name cannot be that of a bridge; returns it. */
export function checkBridgeName(name: string): string {
  return checkLinkName('bridge', name);
}

/** Neutron's name of a network's bridge: `brq` and the first 11 characters of the network's UUID. Throws `INVALID_ARGUMENT`. */
export function networkBridgeName(networkId: string): string {
  const id = networkId.toLowerCase();
  if (!UUID.test(id))
    throw invalid(`the network id ${JSON.stringify(networkId)} is not a UUID`, { networkId });
  return `brq${id.slice(0, 11)}`;
}

/**
 * Neutron's name of a VLAN's sub-interface: `eth1.101`. A name that would be too long for the kernel is that of the
 * interface cut to 4 characters, and 6 of its digest. Throws `INVALID_ARGUMENT`.
 */
export function subInterfaceName(physicalInterface: string, vlan: number): string {
  checkInterfaceName(physicalInterface);
  const name = `${physicalInterface}.${checkVlan(vlan)}`;
  if (name.length <= 15) return name;
  const digest = createHash('sha1').update(physicalInterface).digest('hex');
  return `${physicalInterface.slice(0, 4)}${digest.slice(0, 6)}.${vlan}`;
}

/** 1 to 4094: 0 and 4095 are reserved by 802.1Q. Throws `INVALID_ARGUMENT`. */
export function checkVlan(vlan: number): number {
  if (Number.isInteger(vlan) && vlan >= 1 && vlan <= 4094) return vlan;
  throw invalid(`a VLAN is a whole number from 1 to 4094, not ${vlan}`, { vlan });
}

/** Throws `INVALID_ARGUMENT` where the name cannot be that of a tap; returns it. */
export function checkTapName(name: string): string {
  return checkLinkName('tap', name);
}

/** Throws `INVALID_ARGUMENT` where the name cannot be that of an interface of the host; returns it. */
export function checkInterfaceName(name: string): string {
  return checkLinkName('interface', name);
}

/** A network filter of libvirt's, `clean-traffic`. Throws `INVALID_ARGUMENT` where the name cannot be that of one; returns it. */
export function checkFilterName(name: string): string {
  if (FILTER_NAME.test(name)) return name;
  throw invalid(
    `${JSON.stringify(name)} cannot name a network filter: 1 to 64 letters, digits or _ . -, a letter or digit first`,
    { filter: name },
  );
}

function checkLinkName(what: 'bridge' | 'tap' | 'interface', name: string): string {
  if (LINK_NAME.test(name)) return name;
  throw invalid(
    `${JSON.stringify(name)} cannot name ${what === 'interface' ? 'an' : 'a'} ${what}: 1 to 15 letters, digits or _ . + @ -, a letter or digit first`,
    { [what]: name },
  );
}

/**
 * The address in lower case with colons. Throws `INVALID_ARGUMENT` for what is no unicast address, and for one that
 * begins with fe: libvirt gives that to the host's side of each tap and refuses it for the guest's.
 */
export function checkMac(mac: string): string {
  const address = mac.toLowerCase();
  if (!MAC.test(address)) {
    throw invalid(`${JSON.stringify(mac)} is not a MAC address of the form fa:16:3e:12:34:56`, { mac });
  }
  if ((Number.parseInt(address.slice(0, 2), 16) & 1) === 1 || address === '00:00:00:00:00:00') {
    throw invalid(`${mac} is not the MAC address of a single interface`, { mac });
  }
  if (address.startsWith('fe:'))
    throw invalid(`${mac} begins with fe, which libvirt keeps for taps`, { mac });
  return address;
}

/** A random address under Neutron's prefix fa:16:3e that is not in `taken` (lower case). */
export function generateMac(taken: ReadonlySet<string> = new Set()): string {
  for (;;) {
    const tail = randomBytes(3).toString('hex');
    const mac = `fa:16:3e:${tail.slice(0, 2)}:${tail.slice(2, 4)}:${tail.slice(4)}`;
    if (!taken.has(mac)) return mac;
    if (taken.size >= 2 ** 24) throw invalid('every address under fa:16:3e is taken', {});
  }
}

/** Neither the kernel nor the bridge takes less than 68; 0 means the kernel's own choice. Throws `INVALID_ARGUMENT`. */
export function checkMtu(mtu: number): number {
  if (Number.isInteger(mtu) && (mtu === 0 || (mtu >= 68 && mtu <= 65535))) return mtu;
  throw invalid(`an MTU is a whole number from 68 to 65535, not ${mtu}`, { mtu });
}

function invalid(message: string, details: Readonly<Record<string, unknown>>): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', message, { details });
}
