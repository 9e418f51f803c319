// The host's NUMA cells as claims see them: which CPUs, pages and memory are free, and which cells hold a request.
import type { NodeInventory } from '../driver/inventory.js';
import type { InstancePlacement } from '../driver/placement.js';
import type { GuestCell, TopologyRequest } from './topology-request.js';

export type HostCell = Pick<
  NodeInventory['numaCells'][number],
  'id' | 'memoryMb' | 'cpus' | 'siblings' | 'hugepages'
>;

interface Cell {
  readonly id: number;
  /** Groups of CPUs that are threads of one core; dedicated CPUs only. */
  readonly cores: readonly (readonly number[])[];
  readonly sharedCpus: readonly number[];
  /** In ordinary pages. */
  readonly memoryMb: number;
  readonly pages: ReadonlyMap<number, number>;
  /** How many instances have a CPU: more than one only where they were found so. */
  readonly takenCpus: Map<number, number>;
  usedVcpus: number;
  usedMemoryMb: number;
  readonly usedPages: Map<number, number>;
}

/** How much the instances with a layout of their own have and the host has, over all cells. */
export interface TopologyUsage {
  readonly total: number;
  readonly used: number;
}

/** Cells that can hold a request, or how many of its cells found none. */
export type Fit =
  | { readonly placement: InstancePlacement }
  | { readonly placed: number; readonly hostCells: number };

export class HostTopology {
  readonly #cells: readonly Cell[];
  readonly #sharedCpus: readonly number[];
  readonly #ratios: { readonly vcpus: number; readonly memoryMb: number };

  /** `dedicatedCpus` are kept for vCPUs that ask for one each; the others are shared. */
  constructor(
    cells: readonly HostCell[],
    dedicatedCpus: readonly number[],
    ratios: { readonly vcpus: number; readonly memoryMb: number },
  ) {
    const dedicated = new Set(dedicatedCpus);
    this.#ratios = ratios;
    this.#cells = cells.map((cell) => makeCell(cell, dedicated));
    this.#sharedCpus = this.#cells.flatMap(({ sharedCpus }) => sharedCpus);
  }

  /** CPUs for vCPUs that ask for one each. */
  get dedicatedCpus(): TopologyUsage {
    const total = sum(this.#cells, ({ cores }) => cores.reduce((count, core) => count + core.length, 0));
    return { total, used: sum(this.#cells, ({ takenCpus }) => takenCpus.size) };
  }

  /** Large pages of one size. */
  pages(sizeKib: number): TopologyUsage {
    return {
      total: sum(this.#cells, ({ pages }) => pages.get(sizeKib) ?? 0),
      used: sum(this.#cells, ({ usedPages }) => usedPages.get(sizeKib) ?? 0),
    };
  }

  /** Sizes of large pages that the host has, the largest first. */
  get pageSizesKib(): number[] {
    return [...new Set(this.#cells.flatMap(({ pages }) => [...pages.keys()]))].sort((a, b) => b - a);
  }

  /** Takes nothing yet. Of `large` pages the largest size that holds the request is chosen, as Nova does. */
  fit(request: TopologyRequest): Fit {
    const { pageSizeKib } = request;
    const sizes = pageSizeKib === 'large' ? this.pageSizesKib : [pageSizeKib];
    let placed = 0;
    for (const size of sizes) {
      const assigned = this.#assign(request, size);
      if (assigned.every((cell) => cell !== undefined)) {
        return { placement: this.#placement(request, assigned as Cell[], size) };
      }
      placed = Math.max(placed, assigned.filter((cell) => cell !== undefined).length);
    }
    return { placed, hostCells: this.#cells.length };
  }

  /** Of an instance that stands on the host, too, whatever is free: CPUs and cells that the host has no more are passed over. */
  take(request: TopologyRequest, placement: InstancePlacement): void {
    this.#count(request, placement, 1);
  }

  give(request: TopologyRequest, placement: InstancePlacement): void {
    this.#count(request, placement, -1);
  }

  #count({ cells, dedicated }: TopologyRequest, placement: InstancePlacement, sign: 1 | -1): void {
    const { nodes, pageSizeKib, emulator = [] } = placement;
    for (const { cores, takenCpus } of this.#cells) {
      const own = new Set(cores.flat());
      for (const cpu of [...placement.dedicated, ...emulator]) if (own.has(cpu)) add(takenCpus, cpu, sign);
    }
    for (const [index, guest] of cells.entries()) {
      const cell = this.#cells.find(({ id }) => id === nodes[index]);
      if (!cell) continue;
      cell.usedVcpus += sign * sharedVcpus(guest, dedicated);
      if (pageSizeKib === undefined) cell.usedMemoryMb += sign * guest.memoryMb;
      else add(cell.usedPages, pageSizeKib, sign * pagesOf(guest, pageSizeKib));
    }
  }

  /**
   * A host cell of its own for each guest cell. Whether one holds another does not depend on the rest, so this is a
   * matching along augmenting paths: never a search through all orders of cells.
   */
  #assign(request: TopologyRequest, pageSizeKib: number | undefined): (Cell | undefined)[] {
    const { cells } = request;
    const holderOf = new Map<Cell, number>();
    const place = (guest: number, seen: Set<Cell>): boolean => {
      for (const cell of this.#cells) {
        if (seen.has(cell) || !this.#holds(cell, request, guest, pageSizeKib)) continue;
        seen.add(cell);
        const holder = holderOf.get(cell);
        if (holder !== undefined && !place(holder, seen)) continue;
        holderOf.set(cell, guest);
        return true;
      }
      return false;
    };
    for (const guest of cells.keys()) place(guest, new Set());
    const assigned: (Cell | undefined)[] = cells.map(() => undefined);
    for (const [cell, guest] of holderOf) assigned[guest] = cell;
    return assigned;
  }

  #holds(cell: Cell, request: TopologyRequest, index: number, pageSizeKib: number | undefined): boolean {
    const guest = request.cells[index] as GuestCell;
    const shared = sharedVcpus(guest, request.dedicated);
    const own = guest.vcpus.length - shared + (request.isolatesEmulator && index === 0 ? 1 : 0);
    if (own > cell.cores.flat().length - cell.takenCpus.size || shared > cell.sharedCpus.length) return false;
    if (shared > 0 && cell.usedVcpus + shared > cell.sharedCpus.length * this.#ratios.vcpus) return false;
    if (pageSizeKib === undefined) {
      return (
        guest.memoryMb <= cell.memoryMb &&
        cell.usedMemoryMb + guest.memoryMb <= cell.memoryMb * this.#ratios.memoryMb
      );
    }
    const pages = pagesOf(guest, pageSizeKib);
    const free = (cell.pages.get(pageSizeKib) ?? 0) - (cell.usedPages.get(pageSizeKib) ?? 0);
    return Number.isInteger(pages) && pages <= free;
  }

  #placement(
    { cells, dedicated, isolatesEmulator }: TopologyRequest,
    assigned: readonly Cell[],
    pageSizeKib: number | undefined,
  ): InstancePlacement {
    const cpuOf = new Map<number, number>();
    let emulator: number | undefined;
    for (const [index, cell] of assigned.entries()) {
      const free = freeByCore(cell);
      for (const vcpu of cells[index]?.vcpus ?? []) {
        if (dedicated.includes(vcpu)) cpuOf.set(vcpu, free.shift() as number);
      }
      if (isolatesEmulator && index === 0) emulator = free.shift();
    }
    return {
      dedicated: dedicated.map((vcpu) => cpuOf.get(vcpu) as number),
      ...(dedicated.length > 0 && this.#sharedCpus.length > 0 && { shared: this.#sharedCpus }),
      ...(emulator !== undefined && { emulator: [emulator] }),
      nodes: assigned.map(({ id }) => id),
      ...(pageSizeKib !== undefined && { pageSizeKib }),
    };
  }
}

function makeCell(cell: HostCell, dedicated: ReadonlySet<number>): Cell {
  const ofHugepages = cell.hugepages.filter(({ total }) => total > 0);
  const hugeMb = ofHugepages.reduce((mb, { sizeKib, total }) => mb + (sizeKib * total) / 1024, 0);
  const own = cell.cpus.filter((cpu) => dedicated.has(cpu));
  const rest = own.filter((cpu) => !cell.siblings.flat().includes(cpu));
  // Every CPU once, however often its core is named.
  const cores = [...new Set(cell.siblings.map((core) => core.join()))].map((core) =>
    core.split(',').map(Number),
  );
  return {
    id: cell.id,
    cores: [...cores, ...rest.map((cpu) => [cpu])].map((core) => core.filter((cpu) => own.includes(cpu))),
    sharedCpus: cell.cpus.filter((cpu) => !dedicated.has(cpu)),
    memoryMb: Math.max(0, cell.memoryMb - hugeMb),
    pages: new Map(ofHugepages.map(({ sizeKib, total }) => [sizeKib, total])),
    takenCpus: new Map(),
    usedVcpus: 0,
    usedMemoryMb: 0,
    usedPages: new Map(),
  };
}

/** Cores with the most free threads first, so that an instance has whole cores where it can. */
function freeByCore({ cores, takenCpus }: Cell): number[] {
  const free = cores.map((core) => core.filter((cpu) => !takenCpus.has(cpu)));
  return free.sort((a, b) => b.length - a.length).flat();
}

function add(counts: Map<number, number>, key: number, amount: number): void {
  const count = (counts.get(key) ?? 0) + amount;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

function sharedVcpus({ vcpus }: GuestCell, dedicated: readonly number[]): number {
  return dedicated.length === 0 ? vcpus.length : vcpus.filter((vcpu) => !dedicated.includes(vcpu)).length;
}

function pagesOf({ memoryMb }: GuestCell, pageSizeKib: number): number {
  return (memoryMb * 1024) / pageSizeKib;
}

function sum(cells: readonly Cell[], of: (cell: Cell) => number): number {
  return cells.reduce((total, cell) => total + of(cell), 0);
}
