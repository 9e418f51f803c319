// QEMU processes, seen from outside.
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
