// What a process holds in memory.
import { readFileSync } from 'node:fs';

export function residentMib(pid: number | undefined): number {
  const [, kib = ''] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}
