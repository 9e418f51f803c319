// The seam to native/network: links of this process's network namespace.
import type { CallId } from './native-image.js';

export interface NativeLink {
  /** `bridge`, `tun` (taps as well), `veth` ...; empty for a device without a kind. */
  readonly kind: string;
  readonly index: number;
  readonly mtu: number;
  readonly up: boolean;
  /** Bridge or bond it is a port of; empty for none. */
  readonly master: string;
  readonly mac: string;
  /** `node-compute` on what this library made; empty for none. */
  readonly alias: string;
}

export interface NativeNetwork {
  /** Makes the bridge and brings it up; false where it stood already. Rejects where the name is some other kind of link. */
  ensureBridge(name: string, mtu: number, callId: CallId): Promise<boolean>;
  /** Removes a bridge that has no ports; false where it has some or does not exist. */
  removeBridge(name: string, callId: CallId): Promise<boolean>;
  /** Removes a tap; success where there is none, NOT another kind of link. */
  removeTap(name: string, callId: CallId): Promise<void>;
  /** undefined where there is no such link. */
  getLink(name: string, callId: CallId): Promise<NativeLink | undefined>;
  listBridgePorts(bridge: string, callId: CallId): Promise<string[]>;
  /** Makes an interface a port and brings it up; false where it was one. Rejects where it is another bridge's. */
  addBridgePort(bridge: string, port: string, callId: CallId): Promise<boolean>;
  /** False where it is no port of that bridge. */
  removeBridgePort(bridge: string, port: string, callId: CallId): Promise<boolean>;
  /** Persistent taps on their bridge, up; the names of those that did not stand. All are made, or none. */
  ensureTaps(
    taps: {
      readonly names: readonly string[];
      readonly bridge: string;
      readonly mtu: number;
      readonly multiQueue: boolean;
    },
    callId: CallId,
  ): Promise<string[]>;
  /** A VLAN's sub-interface on its bridge, up; false where it stood. */
  ensureVlan(
    vlan: {
      readonly name: string;
      readonly physicalInterface: string;
      readonly id: number;
      readonly bridge: string;
      readonly mtu: number;
    },
    callId: CallId,
  ): Promise<boolean>;
  /** Success where there is none, NOT another kind of link. */
  removeVlan(name: string, callId: CallId): Promise<void>;
  /** With their prefixes, without link-local ones. */
  listAddresses(name: string, callId: CallId): Promise<string[]>;
  /** undefined where it may not try. */
  networkFeatures(
    callId: CallId,
  ): Promise<
    { readonly bridge: boolean; readonly vlan: boolean; readonly bridgeVlanFiltering: boolean } | undefined
  >;
}
