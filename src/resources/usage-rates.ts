// From two samples of an instance's counters to what it does in a second.
import type { InstanceUsage } from '../driver/usage.js';

/** In a second, between two samples; undefined where one of them lacks the counter. */
export interface UsageRates {
  /** Milliseconds between the samples. */
  readonly overMs: number;
  /** 100 is one host CPU all the time. */
  readonly cpuPercent: number;
  readonly diskReadBytes: number | undefined;
  readonly diskWriteBytes: number | undefined;
  readonly diskReadRequests: number | undefined;
  readonly diskWriteRequests: number | undefined;
  readonly networkRxBytes: number | undefined;
  readonly networkTxBytes: number | undefined;
}

/** Undefined where no time has passed, and where a counter went back: the guest was started anew between them. */
export function usageRates(before: InstanceUsage, after: InstanceUsage): UsageRates | undefined {
  const overMs = after.timestampMs - before.timestampMs;
  const cpuNs = Number(after.cpuTimeNs - before.cpuTimeNs);
  if (overMs <= 0 || cpuNs < 0) return undefined;
  const rate = (was: number | undefined, is: number | undefined): number | undefined =>
    was === undefined || is === undefined ? undefined : ((is - was) * 1000) / overMs;
  const rates: UsageRates = {
    overMs,
    cpuPercent: (cpuNs / (overMs * 1e6)) * 100,
    diskReadBytes: rate(before.disk?.readBytes, after.disk?.readBytes),
    diskWriteBytes: rate(before.disk?.writeBytes, after.disk?.writeBytes),
    diskReadRequests: rate(before.disk?.readRequests, after.disk?.readRequests),
    diskWriteRequests: rate(before.disk?.writeRequests, after.disk?.writeRequests),
    networkRxBytes: rate(before.network?.rxBytes, after.network?.rxBytes),
    networkTxBytes: rate(before.network?.txBytes, after.network?.txBytes),
  };
  return Object.values(rates).some((value: number | undefined) => value !== undefined && value < 0)
    ? undefined
    : rates;
}
