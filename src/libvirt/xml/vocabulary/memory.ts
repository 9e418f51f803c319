// Page size, locked memory and guest NUMA cells.
import type { Flavor } from '../../../driver/model.js';
import type { NumaEntries } from './flavor-terms.js';
import { conflict, cpuMask, inconsistent, integer, type PageSize } from './rule.js';
import { agreed, type Terms } from './terms.js';

export interface NumaCell {
  readonly id: number;
  readonly cpus: readonly number[];
  readonly memoryMb: number;
}

/** The image may only name a size where the flavor leaves the choice (`large`, `any`). */
export function memoryPageSize({ flavor, image }: Terms): PageSize | undefined {
  const ofFlavor = flavor['hw:mem_page_size'];
  const ofImage = image.hw_mem_page_size;
  if (ofImage === undefined) return ofFlavor;
  if (ofFlavor === 'any' || ofFlavor === 'large') return ofImage;
  throw conflict('hw:mem_page_size', String(ofFlavor ?? ''), 'hw_mem_page_size', String(ofImage));
}

export function lockedMemory(terms: Terms, page: PageSize | undefined): boolean {
  const locked = agreed(terms, 'hw:locked_memory', 'hw_locked_memory') ?? false;
  if (locked && page === undefined) {
    const key = terms.flavor['hw:locked_memory'] === undefined ? 'hw_locked_memory' : 'hw:locked_memory';
    throw inconsistent(key, 'true', 'needs hw:mem_page_size');
  }
  return locked;
}

/** Undefined where nothing asks for NUMA: nodes, a page size or CPUs of its own do. */
export function numaCells(
  terms: Terms,
  { vcpus, memoryMb }: Pick<Flavor, 'vcpus' | 'memoryMb'>,
  implied: boolean,
): readonly NumaCell[] | undefined {
  const fromFlavor = terms.flavor['hw:numa_nodes'];
  const fromImage = terms.image.hw_numa_nodes;
  if (fromFlavor !== undefined && fromImage !== undefined) {
    throw conflict('hw:numa_nodes', String(fromFlavor), 'hw_numa_nodes', String(fromImage));
  }
  const cpus = oneOf(terms.flavorCpus, terms.imageCpus);
  const memory = oneOf(terms.flavorMemory, terms.imageMemory);
  const nodes = fromFlavor ?? fromImage ?? (implied ? 1 : undefined);
  const mapped = [...cpus.values(), ...memory.values()][0];
  if (nodes === undefined) {
    if (mapped) throw inconsistent(mapped.key, mapped.value, 'needs hw:numa_nodes');
    return undefined;
  }
  if (!mapped) return evenCells(nodes, vcpus, memoryMb);
  if (cpus.size !== nodes || memory.size !== nodes) {
    throw inconsistent(
      mapped.key,
      mapped.value,
      `CPUs and memory must be given for each of the ${nodes} NUMA nodes`,
    );
  }
  return mappedCells(nodes, vcpus, memoryMb, cpus, memory);
}

function oneOf(ofFlavor: NumaEntries, ofImage: NumaEntries): NumaEntries {
  const a = ofFlavor.values().next().value;
  const b = ofImage.values().next().value;
  if (a && b) throw conflict(a.key, a.value, b.key, b.value);
  return a ? ofFlavor : ofImage;
}

function evenCells(nodes: number, vcpus: number, memoryMb: number): NumaCell[] {
  if (vcpus % nodes !== 0 || memoryMb % nodes !== 0) {
    throw inconsistent(
      'hw:numa_nodes',
      String(nodes),
      `${vcpus} vCPUs and ${memoryMb} MiB do not divide evenly`,
    );
  }
  const share = vcpus / nodes;
  return Array.from({ length: nodes }, (_, id) => ({
    id,
    cpus: Array.from({ length: share }, (_cpu, index) => id * share + index),
    memoryMb: memoryMb / nodes,
  }));
}

function mappedCells(
  nodes: number,
  vcpus: number,
  memoryMb: number,
  cpuEntries: NumaEntries,
  memoryEntries: NumaEntries,
): NumaCell[] {
  const taken = new Set<number>();
  const cells = Array.from({ length: nodes }, (_, id): NumaCell => {
    const ofCpus = cpuEntries.get(id);
    const ofMemory = memoryEntries.get(id);
    if (!ofCpus || !ofMemory) {
      throw inconsistent('hw:numa_nodes', String(nodes), `CPUs and memory of node ${id} are missing`);
    }
    const cpus = cpuMask(ofCpus.value, ofCpus.key, vcpus);
    for (const cpu of cpus) {
      if (taken.has(cpu)) throw inconsistent(ofCpus.key, ofCpus.value, `vCPU ${cpu} is in two NUMA nodes`);
      taken.add(cpu);
    }
    if (cpus.length === 0) throw inconsistent(ofCpus.key, ofCpus.value, 'a NUMA node needs a vCPU');
    return { id, cpus, memoryMb: integer(1, memoryMb)(ofMemory.value, ofMemory.key) };
  });
  const first = cpuEntries.get(0) ?? { key: 'hw:numa_cpus.0', value: '' };
  if (taken.size !== vcpus) throw inconsistent(first.key, first.value, 'some vCPUs are in no NUMA node');
  const sum = cells.reduce((total, cell) => total + cell.memoryMb, 0);
  if (sum !== memoryMb) {
    const entry = memoryEntries.get(0) ?? { key: 'hw:numa_mem.0', value: '' };
    throw inconsistent(
      entry.key,
      entry.value,
      `the nodes' memory is ${sum} MiB, the flavor's ${memoryMb} MiB`,
    );
  }
  return cells;
}
