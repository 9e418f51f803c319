// The end of the domains that scripts/fleet.mjs started, whose libvirt may be gone.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Ends the QEMUs whose arguments name that directory, and waits until they are gone. */
export function endFleet(directory) {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (words.startsWith('/') && words.includes('qemu-system') && words.includes(directory)) {
        process.kill(Number(pid), 'SIGKILL');
      }
    } catch {
      // ended meanwhile
    }
  }
  execFileSync('sleep', ['0.5']);
}
