// How far a guest can grow while it runs: terms of this library, as Nova has none.
import type { Flavor } from '../../../driver/model.js';
import type { NumaCell } from './memory.js';
import { inconsistent } from './rule.js';
import type { Terms } from './terms.js';

export interface Headroom {
  /** Undefined where the flavor names none: the guest then has its vCPUs until it is stopped. */
  readonly maxVcpus: number | undefined;
  /** What the machine is made with; at most this much the balloon can give to the guest. */
  readonly maxMemoryMb: number;
}

/** Throws `INVALID_ARGUMENT` for less than the flavor has, and beside guest NUMA cells, which have fixed sizes. */
export function headroom(
  { flavor: terms }: Terms,
  { vcpus, memoryMb }: Pick<Flavor, 'vcpus' | 'memoryMb'>,
  cells: readonly NumaCell[] | undefined,
): Headroom {
  const maxVcpus = terms['node_compute:max_vcpus'];
  const maxMemoryMb = terms['node_compute:max_memory_mb'];
  check('node_compute:max_vcpus', maxVcpus, vcpus, cells);
  check('node_compute:max_memory_mb', maxMemoryMb, memoryMb, cells);
  return { maxVcpus, maxMemoryMb: maxMemoryMb ?? memoryMb };
}

function check(key: string, most: number | undefined, now: number, cells: unknown): void {
  if (most === undefined) return;
  if (most < now) throw inconsistent(key, String(most), `the flavor has ${now}`);
  if (cells === undefined) return;
  throw inconsistent(key, String(most), 'not with NUMA nodes, a page size or CPUs of its own');
}
