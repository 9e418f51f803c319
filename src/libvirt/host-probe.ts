// What this host lets QEMU do: KVM or emulation, and which user it may run as. Read once, at start.
import { accessSync, constants, readFileSync } from 'node:fs';
import { access, open } from 'node:fs/promises';

/** Debian's name, then Fedora's. */
const QEMU_USERS = ['libvirt-qemu', 'qemu'] as const;

/** What brings that user, for messages. */
export const QEMU_USER_REMEDY: string =
  'Debian, Ubuntu: addgroup --system kvm; addgroup --system libvirt-qemu; adduser --system --ingroup kvm ' +
  '--no-create-home --home /var/lib/libvirt libvirt-qemu && adduser libvirt-qemu libvirt-qemu; ' +
  'Fedora: dnf install libvirt-daemon-driver-qemu';

export interface QemuUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** The user of that name, or the distribution's QEMU user; undefined where /etc/passwd has none. */
export function findQemuUser(name?: string, passwd: string = read('/etc/passwd')): QemuUser | undefined {
  const wanted: readonly string[] = name === undefined ? QEMU_USERS : [name];
  for (const candidate of wanted) {
    const line = passwd.split('\n').find((entry) => entry.startsWith(`${candidate}:`));
    const fields = line?.split(':');
    if (fields?.[2] && fields[3]) return { name: candidate, uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return undefined;
}

/** Debian's libvirt looks the group libvirt-qemu up before it reads its configuration: without it no QEMU driver. */
export function lacksQemuGroup(
  groups: string = read('/etc/group'),
  release: string = read('/etc/os-release'),
): boolean {
  return /^ID=debian$/m.test(release) && !/^libvirt-qemu:/m.test(groups);
}

/** Why KVM can't be used; undefined where it can. */
export function kvmObstacle(cpuinfo: string = read('/proc/cpuinfo')): string | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'ENOENT' ? '/dev/kvm does not exist' : `/dev/kvm cannot be opened (${code})`;
  }
  // Other architectures have no flag to look for: there the device says it all.
  if ((process.arch === 'x64' || process.arch === 'ia32') && !/^flags\s*:.*\b(vmx|svm)\b/m.test(cpuinfo)) {
    return 'the CPU shows neither vmx nor svm';
  }
  return undefined;
}

/** O_TMPFILE without O_DIRECTORY, which differs between architectures; Node.js has no name for it. */
const TMPFILE = 0o20000000;

/** Whether files below a directory can be opened with O_DIRECT (tmpfs only since Linux 6.6). Leaves no file. */
export async function supportsDirectIo(directory: string): Promise<boolean> {
  const flags = TMPFILE | constants.O_DIRECTORY | constants.O_RDWR | constants.O_DIRECT;
  try {
    await (await open(directory, flags, 0o600)).close();
    return true;
  } catch {
    return false;
  }
}

/** Whether QEMU, started by this process, can have the kernel move the frames of its guest. */
export async function opensVhostNet(): Promise<boolean> {
  try {
    await access('/dev/vhost-net', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
