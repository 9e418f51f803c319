// The directory of an embedded connection: its qemu.conf, its run directory on tmpfs, its one owner.
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ComputeError } from '../driver/errors.js';
import { findQemuUser, lacksQemuGroup, QEMU_USER_REMEDY, type QemuUser } from './host-probe.js';
import { DEFAULT_ROOT, type SecurityOptions } from './options.js';
import { claimPorts } from './vnc-ports.js';

export interface EmbeddedRoot {
  readonly uri: string;
  readonly logFile: string;
  /** Undefined where this process is not privileged: QEMU then runs as the same user. */
  readonly user: QemuUser | undefined;
  /** Defences that are off, with the reason; for the log and for doctor. */
  readonly weakened: readonly string[];
}

/** TMPFS_MAGIC of linux/magic.h. */
const TMPFS_MAGIC = 0x01021994;

/** libvirt keeps the first root of a process open until the process ends, whatever is closed. */
let rootOfProcess: string | undefined;

/**
 * Makes the root ready for `qemu:///embed?root=`. Rejects with `HOST_UNSUITABLE` where QEMU's user is missing.
 * Small and once per process, before any libvirt call: the only files of this library not written by the executor.
 */
export function prepareEmbeddedRoot(root: string, security: SecurityOptions): EmbeddedRoot {
  if (rootOfProcess !== undefined && rootOfProcess !== root) {
    throw new ComputeError(
      'HOST_LOCKED',
      `this process has opened the embedded libvirt root ${rootOfProcess}, and libvirt allows one per process: use that one, or another process for ${root}`,
      { operation: 'initHost', details: { root, rootOfProcess } },
    );
  }
  const privileged = process.getuid?.() === 0;
  const user = privileged ? requireQemuUser(security.user) : undefined;
  for (const directory of [root, join(root, 'etc'), join(root, 'log')]) {
    mkdirSync(directory, { recursive: true, mode: 0o711 });
  }
  placeRunDirectory(root);
  forgetUnbornDomains(root);
  mendEndedCopies(root);
  writeFileSync(join(root, 'etc/qemu.conf'), qemuConf(root, security, user), { mode: 0o600 });
  rootOfProcess = root;
  return {
    uri: `qemu:///embed?root=${root}`,
    logFile: join(root, 'log/libvirt.log'),
    user,
    weakened: weakenedDefences(root, security),
  };
}

/** Who holds the root, for the message of a refused second process; undefined where nobody does. */
export function rootHolder(root: string): { readonly pid: number; readonly command: string } | undefined {
  try {
    const file = realpathSync(join(root, 'run/qemu/driver.pid'));
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
    // The file outlives its process, and the number may be another's by now: who has it open holds it.
    const open = readdirSync(`/proc/${pid}/fd`).some((fd) => linkTarget(`/proc/${pid}/fd/${fd}`) === file);
    if (!open) return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
    return { pid, command };
  } catch {
    return undefined;
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function requireQemuUser(name: string | undefined): QemuUser {
  const user = findQemuUser(name);
  if (user && !lacksQemuGroup()) return user;
  throw new ComputeError(
    'HOST_UNSUITABLE',
    `${user ? "libvirt's group libvirt-qemu" : `QEMU's user ${name ?? 'libvirt-qemu (or qemu)'}`} does not exist; ${QEMU_USER_REMEDY}`,
    { operation: 'initHost' },
  );
}

/**
 * libvirt writes a domain's status twice per start, and nothing in it outlives a host boot: on tmpfs that is free.
 * The definitions beside it must survive a boot, so only `run` goes there.
 */
function placeRunDirectory(root: string): void {
  const run = join(root, 'run');
  if (isTmpfs(root) || !isTmpfs('/run')) return;
  const target = join('/run/node-compute', createHash('sha1').update(root).digest('hex').slice(0, 12));
  try {
    mkdirSync(target, { recursive: true, mode: 0o711 });
    symlinkSync(target, run);
  } catch (error) {
    // There already: a link of ours from before, or a directory that an older run made.
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EEXIST' && code !== 'EACCES') throw error;
  }
}

/**
 * A process killed in the first moments of a start leaves a status file of a domain that is starting and has no QEMU.
 * libvirt reads it back as a running domain whose start never ends, and can neither end nor start it again.
 * QEMU runs only once its process id is in the file, so without one there is nothing to lose; the definition stays.
 */
function forgetUnbornDomains(root: string): void {
  if (rootHolder(root)) return;
  const directory = join(root, 'run/qemu');
  for (const name of filesOf(directory)) {
    const file = join(directory, name);
    // virFileRewrite writes beside the file first; a `.new` is of no use to anybody once its writer is gone.
    const unborn = name.endsWith('.xml')
      ? /<domstatus [^>]*\bpid='0'/.test(readFileSync(file, 'utf8'))
      : name.endsWith('.xml.new');
    if (unborn) rmSync(file, { force: true });
  }
}

/**
 * When libvirt 9.0 ends the copy of a disk QEMU has forgotten it first, and libvirt then writes its status twice before it is
 * done: that the disk has a copy of no kind, which it cannot read back, so that it takes the domain for one that is shut off though
 * its QEMU runs; and that there is a copy and no job that makes it, which nothing ever ends. To a process that was killed
 * in these milliseconds both are mended: such a copy is none. What QEMU holds open of it goes with that QEMU.
 */
function mendEndedCopies(root: string): void {
  if (rootHolder(root)) return;
  const directory = join(root, 'run/qemu');
  for (const name of filesOf(directory).filter((one) => one.endsWith('.xml'))) {
    const file = join(directory, name);
    const text = readFileSync(file, 'utf8');
    const mended = mendCopies(text);
    if (mended === text) continue;
    writeFileSync(`${file}.mended`, mended, { mode: 0o600 });
    renameSync(`${file}.mended`, file);
  }
}

/** @internal The status of a domain, as libvirt writes it. */
export function mendCopies(status: string): string {
  if (!/^ +<mirror /m.test(status)) return status;
  const job = /^ +<blockjob [^>]*>\n(?: +<disk [^>]*mirror='yes'[^>]*\/>\n) +<\/blockjob>\n/gm;
  const isUnderWay = job.test(status) && !/^ +<mirror [^>]*\bjob=''/m.test(status);
  if (isUnderWay) return status;
  return status.replace(job, '').replace(/^ +<mirror [^>]*>\n(?:.*\n)*?^ +<\/mirror>\n/gm, '');
}

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function isTmpfs(path: string): boolean {
  try {
    return statfsSync(path).type === TMPFS_MAGIC;
  } catch {
    return false;
  }
}

function namespaces(root: string, security: SecurityOptions): boolean {
  // libvirt moves /dev/shm while it builds the namespace, which fails for a root below it.
  return (security.mountNamespace ?? true) && !root.startsWith('/dev/shm/');
}

function qemuConf(root: string, security: SecurityOptions, user: QemuUser | undefined): string {
  return [
    '# Written by node-compute at each start; changes here are lost.',
    // Stock libvirt asks QEMU some 400 questions per x86 start to verify the guest CPU: 6 to 7 times the start time.
    'capability_filters = [ "cpu-unavailable-features" ]',
    ...(user ? [`user = "${user.name}"`, `group = "+${user.gid}"`] : []),
    `namespaces = [ ${namespaces(root, security) && user ? '"mount"' : ''} ]`,
    `seccomp_sandbox = ${(security.seccomp ?? true) ? 1 : 0}`,
    `cgroup_controllers = [ ${security.cgroups ? '"cpu", "devices", "memory", "blkio", "cpuset", "cpuacct"' : ''} ]`,
    // No virtlogd in the process: QEMU writes console.log itself.
    'stdio_handler = "file"',
    // Nobody else labels the files of an instance, so their owner need not be kept in extended attributes.
    'remember_owner = 0',
    ...vncPorts(root),
    '',
  ].join('\n');
}

/** The default root begins where libvirt does; each other one has a thousand ports of its own. */
function vncPorts(root: string): string[] {
  const first = root === DEFAULT_ROOT ? 5900 : claimPorts(root, { first: 6900, size: 1000, blocks: 50 });
  return [`remote_display_port_min = ${first}`, `remote_display_port_max = ${first + 999}`];
}

/** What an attacker who breaks out of QEMU does not have to overcome, with the reason. */
export function weakenedDefences(root: string, security: SecurityOptions): string[] {
  const privileged = process.getuid?.() === 0;
  return [
    ...(privileged ? [] : ['QEMU runs as this very user: the process is not root']),
    ...((security.seccomp ?? true) ? [] : ["QEMU's seccomp sandbox is off: option security.seccomp"]),
    ...(namespaces(root, security)
      ? []
      : ['QEMU has no mount namespace of its own: option security.mountNamespace, or a root below /dev/shm']),
    ...(security.cgroups ? [] : ['QEMU has no cgroup of its own: option security.cgroups']),
  ];
}
