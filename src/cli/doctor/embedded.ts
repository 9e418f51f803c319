// The embedded connection: who holds its root, which defences are off, whether its run directory costs disk writes.
import { statfsSync } from 'node:fs';
import { rootHolder, weakenedDefences } from '../../libvirt/embedded-root.js';
import { type DoctorSubject, type Finding, ok, problem, warning } from './check.js';

/** TMPFS_MAGIC of linux/magic.h. */
const TMPFS_MAGIC = 0x01021994;

export function checkEmbedded({ embedded, root }: DoctorSubject): Finding[] {
  if (!embedded) return [];
  const holder = rootHolder(root);
  return [
    holder
      ? problem(
          'root',
          `${root} is held by process ${holder.pid} (${holder.command})`,
          `end it, or use another --root`,
        )
      : ok('root', `${root} is free`),
    ...weakenedDefences(root, {}).map((reason) => warning('security', reason)),
    statfsSync('/run').type === TMPFS_MAGIC
      ? ok('run directory', '/run is a tmpfs')
      : warning(
          'run directory',
          '/run is on disk: each start writes its status there twice',
          'mount a tmpfs on /run',
        ),
  ];
}
