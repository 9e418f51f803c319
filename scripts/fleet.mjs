// Many domains that cost next to nothing: paused before their firmware ran, with a disk, an interface and a balloon each.
import { randomUUID } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const START_PAUSED = 1;
/** Starts at once: enough to keep the cores busy. */
const STARTERS = 4;

/**
 * Starts `count` of them on a connection of node-compute's addon, and gives them in their order. They carry the metadata
 * element of `namespace`, outlive the connection, and have 16 to 64 MiB and one or two vCPUs by turns.
 */
export async function startFleet(connection, directory, count, namespace) {
  const domains = [];
  let next = 0;
  const starter = async () => {
    for (; next < count; ) {
      const index = next;
      next += 1;
      const disk = join(directory, `${index}.raw`);
      writeFileSync(disk, '');
      truncateSync(disk, 1 << 20);
      domains[index] = await connection.define(document(index, disk, namespace), 0, 0);
      await domains[index].start(START_PAUSED, 0);
    }
  };
  await Promise.all(Array.from({ length: STARTERS }, starter));
  return domains;
}

function document(index, disk, namespace) {
  return `<domain type='qemu'><name>fleet-${index}</name><uuid>${randomUUID()}</uuid>
  <metadata><node-compute:instance xmlns:node-compute="${namespace}"/></metadata>
  <memory unit='MiB'>${16 + (index % 4) * 16}</memory><vcpu>${1 + (index % 2)}</vcpu><os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='ethernet'><model type='virtio'/></interface>
    <memballoon model='virtio'/>
  </devices></domain>`;
}
