// The host's network links as this library touches them, with failures told as NETWORK_FAILED.
import { ComputeError, type ErrorCode } from '../driver/errors.js';
import { callNative, type NativeAddon, type NativeLink } from '../native.js';
import {
  checkBridgeName,
  checkInterfaceName,
  checkMtu,
  checkTapName,
  checkVlan,
  subInterfaceName,
} from './names.js';

export type Link = NativeLink;

/** A VLAN of an interface of the host, for a bridge. */
export interface VlanPort {
  readonly physicalInterface: string;
  /** 1 to 4094. */
  readonly vlan: number;
  readonly bridge: string;
  /** 0 takes that of the interface. */
  readonly mtu: number;
}

export interface TapPorts {
  readonly names: readonly string[];
  readonly bridge: string;
  /** Default the kernel's 1500. */
  readonly mtu?: number;
  /** They can be opened once for each queue. Default false. */
  readonly multiQueue?: boolean;
}

/** Link alias by which a bridge of ours is known, by people too (`ip link`), also after a restart. */
export const BRIDGE_ALIAS = 'node-compute';

/**
 * A question takes well under a millisecond, a removal tens of them: the kernel waits until no processor uses the link.
 * Each call ends with `TIMEOUT` after 30 seconds; then something else holds the kernel's lock.
 */
export interface Links {
  /** Makes the bridge and brings it up; false where it stood. `mtu` 0 leaves it to the kernel; an existing bridge keeps its own. */
  ensureBridge(name: string, mtu: number): Promise<boolean>;
  /** False where the bridge has ports or is not there. */
  removeBridge(name: string): Promise<boolean>;
  /** Success where there is none; another kind of link is left alone and rejects. */
  removeTap(name: string): Promise<void>;
  getLink(name: string): Promise<Link | undefined>;
  listBridgePorts(bridge: string): Promise<string[]>;
  /** Makes an interface of the host a port of the bridge, and brings it up; false where it was one. */
  addBridgePort(bridge: string, port: string): Promise<boolean>;
  /** False where it is no port of that bridge. */
  removeBridgePort(bridge: string, port: string): Promise<boolean>;
  /**
   * Makes the sub-interface of a VLAN, named as Neutron's, a port of its bridge; false where it stood. Its interface is
   * brought up.
   */
  ensureVlan(vlan: VlanPort): Promise<boolean>;
  /** Success where there is none; another kind of link is left alone and rejects. */
  removeVlan(name: string): Promise<void>;
  /** Taps that stay when nobody has them open, on their bridge and up; the names of those that did not stand. All, or none. */
  ensureTaps(taps: TapPorts): Promise<string[]>;
  /** IP addresses with their prefixes, without those of IPv6 that every link gives itself. */
  listAddresses(name: string): Promise<string[]>;
}

const CALL_TIMEOUT_MS = 30_000;
/** Not failures of the network; they keep their code. */
const KEPT: ReadonlySet<ErrorCode> = new Set([
  'INVALID_ARGUMENT',
  'TIMEOUT',
  'CLOSED',
  'QUEUE_FULL',
  'HOST_UNSUITABLE',
]);
const EPERM = 1;
const EOPNOTSUPP = 95;
const HINTS: Readonly<Record<number, string>> = {
  [EPERM]: '; network links need root or CAP_NET_ADMIN',
  [EOPNOTSUPP]: '; the kernel lacks it: load its module, or see what `node-compute doctor` says',
};

async function call<T>(
  operation: string,
  link: string,
  run: (addon: NativeAddon, callId: number) => Promise<T>,
): Promise<T> {
  try {
    return await callNative(run, { operation, timeoutMs: CALL_TIMEOUT_MS });
  } catch (error) {
    if (!ComputeError.is(error) || KEPT.has(error.code)) throw error;
    const errno = error.details.errno;
    const hint = HINTS[Number(errno)] ?? '';
    throw new ComputeError('NETWORK_FAILED', `${error.message}${hint}`, {
      operation,
      cause: error,
      details: { link, ...(errno !== undefined && { errno }) },
    });
  }
}

/** Those of the network namespace that this process runs in. */
export const hostLinks: Links = {
  async ensureBridge(name, mtu) {
    checkBridgeName(name);
    checkMtu(mtu);
    return await call('ensureBridge', name, (addon, callId) => addon.ensureBridge(name, mtu, callId));
  },
  async removeBridge(name) {
    checkBridgeName(name);
    return await call('removeBridge', name, (addon, callId) => addon.removeBridge(name, callId));
  },
  async removeTap(name) {
    checkTapName(name);
    await call('removeTap', name, (addon, callId) => addon.removeTap(name, callId));
  },
  async getLink(name) {
    return await call('getLink', name, (addon, callId) => addon.getLink(name, callId));
  },
  async listBridgePorts(bridge) {
    checkBridgeName(bridge);
    return await call('listBridgePorts', bridge, (addon, callId) => addon.listBridgePorts(bridge, callId));
  },
  async addBridgePort(bridge, port) {
    checkBridgeName(bridge);
    checkInterfaceName(port);
    return await call('addBridgePort', port, (addon, callId) => addon.addBridgePort(bridge, port, callId));
  },
  async removeBridgePort(bridge, port) {
    checkBridgeName(bridge);
    checkInterfaceName(port);
    return await call('removeBridgePort', port, (addon, callId) =>
      addon.removeBridgePort(bridge, port, callId),
    );
  },
  async ensureVlan({ physicalInterface, vlan, bridge, mtu }) {
    const name = subInterfaceName(physicalInterface, checkVlan(vlan));
    checkBridgeName(bridge);
    checkMtu(mtu);
    return await call('ensureVlan', name, (addon, callId) =>
      addon.ensureVlan({ name, physicalInterface, id: vlan, bridge, mtu }, callId),
    );
  },
  async removeVlan(name) {
    checkInterfaceName(name);
    await call('removeVlan', name, (addon, callId) => addon.removeVlan(name, callId));
  },
  async ensureTaps({ names, bridge, mtu = 0, multiQueue = false }) {
    for (const name of names) checkTapName(name);
    checkBridgeName(bridge);
    checkMtu(mtu);
    return await call('ensureTaps', bridge, (addon, callId) =>
      addon.ensureTaps({ names, bridge, mtu, multiQueue }, callId),
    );
  },
  async listAddresses(name) {
    checkInterfaceName(name);
    return await call('listAddresses', name, (addon, callId) => addon.listAddresses(name, callId));
  },
};
