// An instances path as a node leaves it: bases in `_base`, and for each an instance whose disk stands on it.
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Gives the path, and the disks. Nothing is large: a pass looks at names and headers. */
export function cachedImages(directory, count) {
  const instances = join(directory, randomUUID());
  const bases = join(instances, '_base');
  mkdirSync(bases, { recursive: true });
  const disks = [];
  for (let i = 0; i < count; i += 1) {
    const base = join(bases, createHash('sha1').update(`image ${i}`).digest('hex'));
    writeFileSync(base, `image ${i}`);
    truncateSync(base, 2 ** 30);
    const instance = join(instances, randomUUID());
    mkdirSync(instance);
    linkSync(base, join(instance, 'disk.base'));
    const disk = join(instance, 'disk');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', disk]);
    disks.push(disk);
  }
  return { instances, disks };
}
