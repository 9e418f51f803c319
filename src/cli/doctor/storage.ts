// Where instances live: room, the way there for QEMU's user, direct I/O.
import { existsSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { supportsDirectIo } from '../../libvirt/host-probe.js';
import { type DoctorSubject, type Finding, ok, problem, warning } from './check.js';

const GIB = 1024 ** 3;
/** Less is not worth starting with. */
const LEAST_GIB = 2;

export async function checkStorage({ instancesPath }: DoctorSubject): Promise<Finding[]> {
  const place = nearest(instancesPath);
  const findings = [checkRoom(instancesPath, place), ...checkTraversal(instancesPath)];
  if (!(await supportsDirectIo(place))) {
    findings.push(warning('direct I/O', `${place} has no O_DIRECT: disks go through the host's page cache`));
  }
  return findings;
}

function checkRoom(instancesPath: string, place: string): Finding {
  const { bavail, bsize } = statfsSync(place);
  const free = (bavail * bsize) / GIB;
  const text = `${free.toFixed(1)} GiB free for ${instancesPath}`;
  return free < LEAST_GIB
    ? problem('disk', text, 'make room, or choose another place with --instances-path')
    : ok('disk', text);
}

/** QEMU opens the disk by its path, as a user of its own. */
function checkTraversal(instancesPath: string): Finding[] {
  for (let path = nearest(instancesPath); ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) {
      return [problem('path', `QEMU's user cannot pass through ${path}`, `chmod o+x ${path}`)];
    }
    if (path === dirname(path)) return [ok('path', `QEMU's user can reach ${instancesPath}`)];
  }
}

function nearest(path: string): string {
  return existsSync(path) ? path : nearest(dirname(path));
}
