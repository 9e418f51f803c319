// Many running domains that use no CPU: paused before their firmware runs, each with a disk, an interface and a balloon.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const START_PAUSED = 1;
/** Starts at once: enough to keep the cores busy. */
const STARTERS = 4;

/** Starts `count` of them on a connection of node-compute's addon; they outlive it. */
export async function startFleet(connection, directory, count, namespace) {
  let next = 0;
  const starter = async () => {
    for (; next < count; ) {
      const index = next;
      next += 1;
      const disk = join(directory, `${index}.raw`);
      writeFileSync(disk, '');
      truncateSync(disk, 1 << 20);
      const domain = await connection.define(document(index, disk, namespace), 0, 0);
      await domain.start(START_PAUSED, 0);
    }
  };
  await Promise.all(Array.from({ length: STARTERS }, starter));
}

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

function document(index, disk, namespace) {
  return `<domain type='qemu'><name>fleet-${index}</name><uuid>${randomUUID()}</uuid>
  <metadata><node-compute:instance xmlns:node-compute="${namespace}"/></metadata>
  <memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='ethernet'><model type='virtio'/></interface>
    <memballoon model='virtio'/>
  </devices></domain>`;
}
