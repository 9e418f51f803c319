// What a flavor and its image ask of the host's layout: NUMA cells, CPUs of their own, large pages. Nova's vocabulary.
import { ComputeError } from '../driver/errors.js';

export interface TopologyRequest {
  /** Guest cells in order, each for a host cell of its own. */
  readonly cells: readonly GuestCell[];
  /** vCPUs that get a host CPU each. */
  readonly dedicated: readonly number[];
  /** One more host CPU, in the cell of the first guest cell, for the emulator's threads. */
  readonly isolatesEmulator: boolean;
  /** `large`: any size above the ordinary one. Undefined: ordinary pages. */
  readonly pageSizeKib: number | 'large' | undefined;
}

export interface GuestCell {
  readonly vcpus: readonly number[];
  readonly memoryMb: number;
}

export interface RequestedTopology {
  readonly vcpus: number;
  readonly memoryMb: number;
  readonly extraSpecs?: Readonly<Record<string, string>> | undefined;
}

/** Pages up to this size are the ordinary ones of some architecture. */
const ORDINARY_PAGE_KIB = 64;
const MOST_CELLS = 128;

const KIB: Readonly<Record<string, number>> = { '': 1 / 1024, k: 1, m: 1024, g: 1024 ** 2 };

const NONE: Readonly<Record<string, string>> = {};

/**
 * Undefined where nothing of it is asked for, as mostly. The flavor's word goes before the image's; whether the two may
 * stand together is the driver's to judge. Throws `INVALID_ARGUMENT` for what cannot be counted.
 */
export function topologyRequest(
  { vcpus, memoryMb, extraSpecs = NONE }: RequestedTopology,
  properties: Readonly<Record<string, string>> = NONE,
): TopologyRequest | undefined {
  const term = (name: string): string | undefined =>
    (extraSpecs[`hw:${name}`] ?? properties[`hw_${name}`])?.trim();
  const policy = term('cpu_policy');
  const nodes = term('numa_nodes');
  const pages = pageSize(extraSpecs['hw:mem_page_size'], properties['hw_mem_page_size']);
  const pinned = policy === 'dedicated' || policy === 'mixed';
  if (!pinned && nodes === undefined && pages === undefined) return undefined;
  const count = nodes === undefined ? 1 : whole('hw:numa_nodes', nodes, MOST_CELLS);
  const cells = Array.from({ length: count }, (_, cell): GuestCell => {
    const cpus = term(`numa_cpus.${cell}`);
    const memory = term(`numa_mem.${cell}`);
    return {
      vcpus: cpus === undefined ? share(vcpus, count, cell) : cpuSet(`hw:numa_cpus.${cell}`, cpus, vcpus),
      memoryMb:
        memory === undefined
          ? memoryMb / count
          : whole(`hw:numa_mem.${cell}`, memory, Number.MAX_SAFE_INTEGER),
    };
  });
  checkSums(cells, vcpus, memoryMb, nodes ?? '1');
  return {
    cells,
    dedicated: pinned ? dedicatedVcpus(policy, vcpus, term) : [],
    isolatesEmulator: pinned && term('emulator_threads_policy') === 'isolate',
    pageSizeKib: pages,
  };
}

/** Every vCPU is in one cell, and the cells' memory is the flavor's: else more, or less, would be counted than is taken. */
function checkSums(cells: readonly GuestCell[], vcpus: number, memoryMb: number, nodes: string): void {
  const placed = cells.flatMap((cell) => cell.vcpus);
  const complete = placed.length === vcpus && new Set(placed).size === vcpus && Math.max(...placed) < vcpus;
  const memory = cells.reduce((sum, cell) => sum + cell.memoryMb, 0);
  if (complete && memory === memoryMb && cells.every((cell) => Number.isInteger(cell.memoryMb))) return;
  throw invalid('hw:numa_nodes', nodes, `${vcpus} vCPUs and ${memoryMb} MiB are not divided among the cells`);
}

function share(vcpus: number, cells: number, cell: number): number[] {
  const each = Math.floor(vcpus / cells);
  return Array.from({ length: each }, (_, index) => cell * each + index);
}

function dedicatedVcpus(
  policy: string | undefined,
  vcpus: number,
  term: (name: string) => string | undefined,
): readonly number[] {
  const all = Array.from({ length: vcpus }, (_, cpu) => cpu);
  if (policy === 'dedicated') return all;
  const mask = term('cpu_dedicated_mask') ?? term('cpu_realtime_mask');
  if (mask === undefined) throw invalid('hw:cpu_policy', 'mixed', 'needs hw:cpu_dedicated_mask');
  return cpuSet('hw:cpu_dedicated_mask', mask, vcpus);
}

/** The image may name the size where the flavor leaves the choice. */
function pageSize(ofFlavor: string | undefined, ofImage: string | undefined): number | 'large' | undefined {
  const open = ofFlavor === 'any' || ofFlavor === 'large';
  const text = ((open ? ofImage : undefined) ?? ofFlavor)?.trim().toLowerCase();
  if (text === undefined || text === 'small' || text === 'any') return undefined;
  if (text === 'large') return 'large';
  const match = /^(\d{1,12})(?:([kmg]?)i?b)?$/.exec(text);
  const kib = Number(match?.[1]) * (KIB[match?.[2] ?? 'k'] ?? Number.NaN);
  if (!(kib > 0)) throw invalid('hw:mem_page_size', text, 'must be small, large, any or a size such as 2MB');
  return kib <= ORDINARY_PAGE_KIB ? undefined : kib;
}

/** `0-3,^1`. What begins with an exclusion means all but these. */
function cpuSet(key: string, text: string, vcpus: number): number[] {
  const parts = text.split(',').map((part) => part.trim());
  const all = Array.from({ length: parts[0]?.startsWith('^') ? vcpus : 0 }, (_, cpu) => cpu);
  const taken = new Set(all);
  const excluded = new Set<number>();
  for (const part of parts) {
    const match = /^(\^?)(\d{1,4})(?:-(\d{1,4}))?$/.exec(part);
    const first = Number(match?.[2]);
    const last = Number(match?.[3] ?? first);
    if (!match || last < first || last >= vcpus)
      throw invalid(key, text, 'must be a list of CPUs such as 0-3,^1');
    for (let cpu = first; cpu <= last; cpu++) (match[1] === '^' ? excluded : taken).add(cpu);
  }
  return [...taken].filter((cpu) => !excluded.has(cpu)).sort((a, b) => a - b);
}

function whole(key: string, text: string, most: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= most) return value;
  throw invalid(key, text, `must be a whole number from 1 to ${most}`);
}

function invalid(key: string, value: string, reason: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', `${key}=${JSON.stringify(value)}: ${reason}`, {
    operation: 'claim',
    details: { key, value },
  });
}
