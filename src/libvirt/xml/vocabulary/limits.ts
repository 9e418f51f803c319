// The flavor's `quota:*`: CPU, disk and network limits.
import type { FlavorTerms } from './flavor-terms.js';
import { inconsistent, invalid } from './rule.js';

export interface CpuLimits {
  readonly shares: number | undefined;
  readonly periodUs: number | undefined;
  /** -1 means without limit. */
  readonly quotaUs: number | undefined;
}

/** Per second; undefined is without limit. */
export interface DiskLimits {
  readonly readBytes: number | undefined;
  readonly writeBytes: number | undefined;
  readonly totalBytes: number | undefined;
  readonly readIops: number | undefined;
  readonly writeIops: number | undefined;
  readonly totalIops: number | undefined;
}

export interface VifLimit {
  /** KiB a second. */
  readonly average: number;
  /** KiB a second. */
  readonly peak: number | undefined;
  /** KiB. */
  readonly burst: number | undefined;
}

export interface VifLimits {
  readonly inbound: VifLimit | undefined;
  readonly outbound: VifLimit | undefined;
}

/** 0 is how a flavor says that there is no limit. */
function positive(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}

export function cpuLimits(terms: FlavorTerms): CpuLimits {
  const shares = positive(terms['quota:cpu_shares']);
  const periodUs = positive(terms['quota:cpu_period']);
  const quota = positive(terms['quota:cpu_quota']);
  if (shares === 1) throw invalid('quota:cpu_shares', '1', '0, or from 2 to 262144');
  if (periodUs !== undefined && periodUs < 1000) {
    throw invalid('quota:cpu_period', String(periodUs), '0, or from 1000 to 1000000 microseconds');
  }
  if (quota !== undefined && quota > 0 && quota < 1000) {
    throw invalid('quota:cpu_quota', String(quota), 'negative for no limit, 0, or from 1000 microseconds');
  }
  return { shares, periodUs, quotaUs: quota !== undefined && quota < 0 ? -1 : quota };
}

export function diskLimits(terms: FlavorTerms): DiskLimits {
  const limits: DiskLimits = {
    readBytes: positive(terms['quota:disk_read_bytes_sec']),
    writeBytes: positive(terms['quota:disk_write_bytes_sec']),
    totalBytes: positive(terms['quota:disk_total_bytes_sec']),
    readIops: positive(terms['quota:disk_read_iops_sec']),
    writeIops: positive(terms['quota:disk_write_iops_sec']),
    totalIops: positive(terms['quota:disk_total_iops_sec']),
  };
  refuseBoth('quota:disk_total_bytes_sec', limits.totalBytes, limits.readBytes, limits.writeBytes);
  refuseBoth('quota:disk_total_iops_sec', limits.totalIops, limits.readIops, limits.writeIops);
  return limits;
}

function refuseBoth(
  key: string,
  total: number | undefined,
  read: number | undefined,
  write: number | undefined,
): void {
  if (total === undefined || (read === undefined && write === undefined)) return;
  throw inconsistent(key, String(total), 'a total excludes limits of its own for reading and writing');
}

export function vifLimits(terms: FlavorTerms): VifLimits {
  return { inbound: vifLimit(terms, 'inbound'), outbound: vifLimit(terms, 'outbound') };
}

function vifLimit(terms: FlavorTerms, direction: 'inbound' | 'outbound'): VifLimit | undefined {
  const average = positive(terms[`quota:vif_${direction}_average`]);
  const peak = positive(terms[`quota:vif_${direction}_peak`]);
  const burst = positive(terms[`quota:vif_${direction}_burst`]);
  if (average !== undefined) return { average, peak, burst };
  if (peak === undefined && burst === undefined) return undefined;
  const key = peak === undefined ? `quota:vif_${direction}_burst` : `quota:vif_${direction}_peak`;
  throw inconsistent(key, String(peak ?? burst), `needs quota:vif_${direction}_average`);
}
