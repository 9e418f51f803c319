// The host's memory from the kernel's own words: libvirt's nodeinfo is wrong where memory is initialised lazily.
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';

export interface HostMemory {
  readonly totalMb: number;
  /** As Nova counts it: total - MemFree - Buffers - Cached. */
  readonly usedMb: number;
}

const MEMINFO_BYTES = 64 * 1024;

/** Reads /proc/meminfo. Rejects with `SYSTEM` or `INTERNAL`. */
export async function readHostMemory(): Promise<HostMemory> {
  const text = await callNative((addon, id) => addon.readFile('/proc/meminfo', MEMINFO_BYTES, id), {
    operation: 'readHostMemory',
  });
  return parseMeminfo(text.toString('utf8'));
}

/** @param text What /proc/meminfo holds, in KiB. */
export function parseMeminfo(text: string): HostMemory {
  const kib = (name: string): number => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text);
    if (!found?.[1]) throw new ComputeError('INTERNAL', `/proc/meminfo has no line ${name}`);
    return Number(found[1]);
  };
  const total = kib('MemTotal');
  const used = total - kib('MemFree') - kib('Buffers') - kib('Cached');
  return { totalMb: Math.floor(total / 1024), usedMb: Math.max(0, Math.ceil(used / 1024)) };
}
