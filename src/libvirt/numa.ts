// The host's NUMA cells: what libvirt tells of their CPUs, and the kernel of their memory and huge pages.
import type { NodeInventory } from '../driver/inventory.js';
import type { HostCapabilities } from './capabilities.js';
import type { HostMemory } from './host-memory.js';
import type { CallContext } from './hypervisor.js';
import { namesIn, smallFile } from './sysfs.js';

type NumaCell = NodeInventory['numaCells'][number];

const NODES = '/sys/devices/system/node';

/** Reads the huge pages, which come and go, anew. */
export async function readNumaCells(
  cells: HostCapabilities['cells'],
  memory: HostMemory,
  context: CallContext,
): Promise<NumaCell[]> {
  return await Promise.all(
    cells.map(async ({ id, memoryKib, cpus, siblings }) => ({
      id,
      // Of one cell the kernel's own sum is right, also while it still initialises its memory, when that of the cell is not.
      memoryMb: cells.length === 1 ? memory.totalMb : await cellMemoryMb(id, memoryKib, context),
      cpus,
      siblings,
      hugepages: await hugepages(id, context),
    })),
  );
}

async function cellMemoryMb(id: number, otherwiseKib: number, context: CallContext): Promise<number> {
  const text = await smallFile(`${NODES}/node${id}/meminfo`, context);
  const kib = /MemTotal:\s+(\d+) kB/.exec(text)?.[1];
  return Math.floor(Number(kib ?? otherwiseKib) / 1024);
}

async function hugepages(id: number, context: CallContext): Promise<NumaCell['hugepages']> {
  const directory = `${NODES}/node${id}/hugepages`;
  const sizes = (await namesIn(directory, context)).map(async (name) => {
    const [total, free] = await Promise.all([
      smallFile(`${directory}/${name}/nr_hugepages`, context),
      smallFile(`${directory}/${name}/free_hugepages`, context),
    ]);
    const sizeKib = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    return { sizeKib, total: Number(total), free: Number(free) };
  });
  return (await Promise.all(sizes)).sort((a, b) => a.sizeKib - b.sizeKib);
}
