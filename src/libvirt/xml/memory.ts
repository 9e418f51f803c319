// Memory: its size, its pages, whether it may be swapped out.

import { cpuList } from './cpu-list.js';
import { element, textElement, type XmlElement } from './element.js';
import type { CpuPinning, HostFacts } from './host.js';
import type { Guest } from './vocabulary/guest.js';
import { inconsistent } from './vocabulary/rule.js';

export function memoryElement(guest: Guest): XmlElement {
  return textElement('memory', guest.maxMemoryMb * 1024, { unit: 'KiB' });
}

/** What the balloon leaves the guest of it; undefined where that is all. */
export function currentMemoryElement({ memoryMb, maxMemoryMb }: Guest): XmlElement | undefined {
  if (memoryMb === maxMemoryMb) return undefined;
  return textElement('currentMemory', memoryMb * 1024, { unit: 'KiB' });
}

/** Undefined where the guest takes ordinary pages. */
export function memoryBackingElement(guest: Guest, pinning?: CpuPinning): XmlElement | undefined {
  const realtime = guest.placement.realtime.length > 0;
  const children = [
    hugePages(guest, pinning?.pageSizeKib),
    realtime ? element('nosharepages') : undefined,
    guest.lockedMemory || realtime ? element('locked') : undefined,
  ].filter((child) => child !== undefined);
  return children.length === 0 ? undefined : element('memoryBacking', {}, children);
}

/** Ordinary pages are 4 KiB; where they are larger, naming that size is as good as `small`. */
const ORDINARY_PAGE_KIB = 64;

function hugePages(
  { pageSize: asked, cells, memoryMb }: Guest,
  given: number | undefined,
): XmlElement | undefined {
  const pageSize = asked === 'large' ? (given ?? asked) : asked;
  if (pageSize === undefined || pageSize === 'small' || pageSize === 'any') return undefined;
  if (pageSize === 'large') return element('hugepages');
  if (pageSize <= ORDINARY_PAGE_KIB) return undefined;
  for (const cell of cells ?? [{ memoryMb }]) {
    if ((cell.memoryMb * 1024) % pageSize !== 0) {
      throw inconsistent('hw:mem_page_size', String(pageSize), `${cell.memoryMb} MiB are no multiple of it`);
    }
  }
  return element('hugepages', {}, [element('page', { size: pageSize, unit: 'KiB' })]);
}

/** Undefined where the caller names no host NUMA nodes. */
export function numatuneElement(guest: Guest, host: HostFacts): XmlElement | undefined {
  const nodes = host.pinning?.nodes;
  const cells = guest.cells;
  if (nodes === undefined || nodes.length === 0 || cells === undefined) return undefined;
  if (nodes.length !== cells.length) {
    throw inconsistent(
      'hw:numa_nodes',
      String(cells.length),
      `pinning.nodes names ${nodes.length} host NUMA nodes`,
    );
  }
  return element('numatune', {}, [
    element('memory', { mode: 'strict', nodeset: cpuList(nodes) }),
    ...cells.map((cell, index) =>
      element('memnode', { cellid: cell.id, mode: 'strict', nodeset: nodes[index] ?? 0 }),
    ),
  ]);
}
