// Which hosts can take an instance, and which of them first: Nova's filters as pure functions over reports.
import { type ClaimedFlavor, claimedAmounts } from './claims.js';
import type { FullReport } from './report.js';

/** What a filter looks at. */
export type HostState = Pick<FullReport, 'service' | 'node'>;

/** True: the host passes. Pure. */
export type HostFilter = (host: HostState, flavor: ClaimedFlavor) => boolean;

/** Nova's service_down_time. */
const SERVICE_DOWN_MS = 60_000;

/**
 * Up, enabled, and heard of within `downAfterMs` (default 60000, Nova's service_down_time) before `nowMs`: reports must
 * come more often than that.
 */
export function computeFilter(
  { service }: Pick<HostState, 'service'>,
  nowMs: number = Date.now(),
  downAfterMs: number = SERVICE_DOWN_MS,
): boolean {
  return service.state === 'up' && service.enabled && nowMs - service.lastSeenMs <= downAfterMs;
}

/** Not more than the host has, nor than is free of (total - reserved) x ratio. */
export function ramFilter({ node }: Pick<HostState, 'node'>, flavor: ClaimedFlavor): boolean {
  const { total, limit, used } = node.memoryMb;
  const { memoryMb } = claimedAmounts(flavor);
  return memoryMb <= total && memoryMb <= limit - used;
}

/** As {@link ramFilter}: a ratio lets instances share CPUs, it gives none more than there are. */
export function coreFilter({ node }: Pick<HostState, 'node'>, flavor: ClaimedFlavor): boolean {
  const { total, limit, used } = node.vcpus;
  const { vcpus } = claimedAmounts(flavor);
  return vcpus <= total && vcpus <= limit - used;
}

/** Counts in MB, as Nova: what is used is the larger of what is claimed and what sparse disks may grow to. */
export function diskFilter({ node }: Pick<HostState, 'node'>, flavor: ClaimedFlavor): boolean {
  const { total, limit, used } = node.diskGb;
  const { rootGb = 0, ephemeralGb = 0, swapMb = 0 } = flavor;
  const requestedMb = 1024 * (rootGb + ephemeralGb) + swapMb;
  const usedMb = 1024 * Math.max(used, total - node.diskAvailableLeastGb);
  return requestedMb <= 1024 * limit - usedMb;
}

export interface HostFilterOptions {
  /** Default: now. */
  readonly nowMs?: number;
  /** See {@link computeFilter}. */
  readonly downAfterMs?: number;
  /** Beside the four. */
  readonly filters?: readonly HostFilter[];
}

/** The hosts that pass all filters, in their order. */
export function filterHosts<H extends HostState>(
  hosts: readonly H[],
  flavor: ClaimedFlavor,
  { nowMs = Date.now(), downAfterMs = SERVICE_DOWN_MS, filters = [] }: HostFilterOptions = {},
): H[] {
  const all = [ramFilter, coreFilter, diskFilter, ...filters];
  return hosts.filter(
    (host) => computeFilter(host, nowMs, downAfterMs) && all.every((passes) => passes(host, flavor)),
  );
}

/** The host with the most free memory first, as Nova's RAMWeigher spreads; equals stay in their order. */
export function weighHosts<H extends HostState>(hosts: readonly H[]): H[] {
  const freeMb = ({ node: { memoryMb } }: H): number => memoryMb.limit - memoryMb.used;
  return hosts.toSorted((a, b) => freeMb(b) - freeMb(a));
}
