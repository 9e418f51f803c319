// KVM: whether guests run on the CPU or are emulated, and whether QEMU's own user may open the device.
import { readFileSync, statSync } from 'node:fs';
import {
  findQemuUser,
  kvmObstacle,
  lacksQemuGroup,
  QEMU_USER_REMEDY,
  type QemuUser,
} from '../../libvirt/host-probe.js';
import { type DoctorSubject, type Finding, ok, problem, warning } from './check.js';

interface Device {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export function checkKvm(): Finding[] {
  const obstacle = kvmObstacle();
  return obstacle === undefined
    ? [ok('kvm', '/dev/kvm opens')]
    : [warning('kvm', `guests are emulated, which is slow: ${obstacle}`)];
}

/** Where QEMU's user can't open it libvirt asks QEMU for its capabilities again at each start: 56 s. */
export function checkKvmAccess(
  _subject?: DoctorSubject,
  user: QemuUser | undefined = findQemuUser(),
  device: Device | undefined = stat('/dev/kvm'),
  groups: string = read('/etc/group'),
): Finding[] {
  if (!device || !user) return [];
  const may =
    (device.mode & 0o006) === 0o006 ||
    (device.uid === user.uid && (device.mode & 0o600) === 0o600) ||
    (memberOf(user, device.gid, groups) && (device.mode & 0o060) === 0o060);
  return may
    ? [ok('kvm access', `${user.name} may open /dev/kvm`)]
    : [
        warning(
          'kvm access',
          `${user.name} may not open /dev/kvm: libvirt then probes QEMU for up to a minute at each start`,
          `groupadd -f kvm; chgrp kvm /dev/kvm && chmod 660 /dev/kvm && usermod -aG kvm ${user.name}`,
        ),
      ];
}

export function checkQemuUser(
  subject: DoctorSubject,
  user: QemuUser | null = findQemuUser() ?? null,
  noGroup: boolean = lacksQemuGroup(),
): Finding[] {
  if (user && !noGroup) return [ok('qemu user', `QEMU runs as ${user.name}`)];
  return [
    (subject.embedded ? problem : warning)(
      'qemu user',
      user
        ? "the group libvirt-qemu does not exist, and Debian's libvirt does not start QEMU without it"
        : 'neither libvirt-qemu nor qemu is a user of this host',
      QEMU_USER_REMEDY,
    ),
  ];
}

function memberOf(user: QemuUser, gid: number, groups: string): boolean {
  if (user.gid === gid) return true;
  const line = groups.split('\n').find((one) => one.split(':')[2] === String(gid));
  return line?.split(':')[3]?.split(',').includes(user.name) ?? false;
}

function stat(path: string): Device | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
