// Where the tap of a port is plugged in: its bridge, and what the bridge reaches.
import { ComputeError } from '../driver/errors.js';
import type { Bridges } from './bridges.js';
import { checkMtu } from './names.js';
import { type Uplink, uplinkPort } from './uplink.js';

/** The part of a VIF that says so. */
export interface Plug {
  /** UUID of the port. */
  readonly id: string;
  readonly bridge: string;
  readonly mtu?: number | undefined;
  /** Of another switch than Linux's: its owner makes the bridge, and libvirt plugs in the tap. */
  readonly virtualPort?: string | undefined;
  readonly physicalInterface?: string | undefined;
  readonly vlan?: number | undefined;
  readonly evenWithAddresses?: boolean | undefined;
}

/** What its bridge is given; undefined for one that reaches nothing. */
export function uplinkOf({ physicalInterface, vlan, evenWithAddresses }: Plug): Uplink | undefined {
  return physicalInterface === undefined ? undefined : { physicalInterface, vlan, evenWithAddresses };
}

/** Makes ready what the tap is plugged into. Idempotent. Rejects as {@link Bridges.acquire}, with `INVALID_ARGUMENT`. */
export async function plug(bridges: Bridges, vif: Plug, signal?: AbortSignal): Promise<void> {
  checkPlug(vif);
  const { id, bridge, mtu, virtualPort } = vif;
  if (virtualPort !== undefined) return;
  await bridges.acquire(bridge, { user: id, mtu, uplink: uplinkOf(vif), signal });
}

/** Lets go of it; what was made for it goes with its last user. Idempotent. Rejects with `NETWORK_FAILED`. */
export async function unplug(bridges: Bridges, vif: Plug): Promise<void> {
  if (vif.virtualPort === undefined) await bridges.release(vif.bridge, vif.id, uplinkOf(vif));
}

/** Throws `INVALID_ARGUMENT`. */
export function checkPlug(vif: Plug): void {
  checkMtu(vif.mtu ?? 0);
  const uplink = uplinkOf(vif);
  if (uplink) uplinkPort(uplink);
  else if (vif.vlan !== undefined) {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `port ${vif.id}: a vlan needs the physicalInterface it is one of`,
    );
  }
}
