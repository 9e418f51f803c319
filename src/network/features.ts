// What this host's kernel can do for networks.
import { callNative } from '../native.js';

export interface NetworkFeatures {
  readonly bridge: boolean;
  /** 802.1Q sub-interfaces. */
  readonly vlan: boolean;
  /** A bridge that keeps the VLANs of its ports apart by itself. */
  readonly bridgeVlanFiltering: boolean;
}

/**
 * Tried in a network namespace of its own, so that the kernel loads what it has as modules; nothing of the host's network
 * is touched. undefined without the right to make one (CAP_SYS_ADMIN). Tens of milliseconds; ends with `TIMEOUT` after 30 s.
 */
export async function networkFeatures(): Promise<NetworkFeatures | undefined> {
  return await callNative((addon, callId) => addon.networkFeatures(callId), {
    operation: 'networkFeatures',
    timeoutMs: 30_000,
  });
}
