// Processes, seen from outside.
import { readdirSync, readFileSync } from 'node:fs';

/** QEMU carries the instance's uuid in its arguments. */
export function processOf(uuid) {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`\0-uuid\0${uuid}\0`)) return pid;
    } catch {
      // ended meanwhile
    }
  }
  throw new Error(`no QEMU of ${uuid}`);
}

/** Memory of a process that is resident, in MiB. */
export const residentMib = (pid) => mib(`/proc/${pid}/status`, /^VmRSS:\s+(\d+)/m);

/** The most that was resident since the process began, or since 5 was written to its clear_refs. */
export const peakMib = (pid) => mib(`/proc/${pid}/status`, /^VmHWM:\s+(\d+)/m);

/** Memory that is resident, of which a page that several processes share counts its share only. */
export const proportionalMib = (pid) => mib(`/proc/${pid}/smaps_rollup`, /^Pss:\s+(\d+)/m);

function mib(file, field) {
  return Number(field.exec(readFileSync(file, 'utf8'))[1]) / 1024;
}

/** When a process has ended: seen within a millisecond or two, without keeping this one from its work. */
export async function exit(pid) {
  for (;;) {
    try {
      if (readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].startsWith('Z')) return;
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
