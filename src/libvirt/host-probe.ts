// What this host lets QEMU do: KVM or emulation, and which user it may run as. Read once, at start.
import { accessSync, constants, readFileSync } from 'node:fs';

/** Debian's name, then Fedora's. */
const QEMU_USERS = ['libvirt-qemu', 'qemu'] as const;

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

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
