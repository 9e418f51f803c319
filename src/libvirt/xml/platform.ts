// Guest and host together: architecture, machine type, firmware, and what the host can't give.
import { ComputeError } from '../../driver/errors.js';
import type { Architecture, HostFacts } from './host.js';
import { isX86 } from './host.js';
import type { Guest } from './vocabulary/guest.js';
import { inconsistent, unsupportedTerm } from './vocabulary/rule.js';

export interface Platform {
  readonly virtType: 'kvm' | 'qemu';
  readonly architecture: Architecture;
  readonly machine: string;
  /** x86 with PCI Express and without IDE. */
  readonly q35: boolean;
  readonly firmware: 'bios' | 'uefi';
  readonly secureBoot: boolean;
}

const MACHINES: Readonly<Record<Architecture, string>> = {
  x86_64: 'pc',
  i686: 'pc',
  aarch64: 'virt',
  ppc64le: 'pseries',
  ppc64: 'pseries',
  s390x: 's390-ccw-virtio',
  riscv64: 'virt',
};

/** Throws `UNSUPPORTED` where this host can't run the guest, `INVALID_ARGUMENT` where the image contradicts itself. */
export function resolvePlatform(guest: Guest, host: HostFacts): Platform {
  const architecture = guestArchitecture(guest, host);
  if (guest.virtType === 'kvm' && host.virtType === 'qemu') {
    throw unsupportedTerm('img_hv_type', 'kvm', 'this host has emulation only');
  }
  const firmware = guest.firmware ?? (architecture === 'aarch64' ? 'uefi' : 'bios');
  if (firmware === 'bios' && architecture === 'aarch64') {
    throw inconsistent('hw_firmware_type', 'bios', 'aarch64 boots with UEFI');
  }
  if (firmware === 'uefi' && !isX86(architecture) && architecture !== 'aarch64') {
    throw unsupportedTerm('hw_firmware_type', 'uefi', `not on ${architecture}`);
  }
  const fallback = isX86(architecture) && firmware === 'uefi' ? 'q35' : MACHINES[architecture];
  const machine = guest.machine ?? host.machine ?? fallback;
  const q35 = isX86(architecture) && machine.includes('q35');
  const secureBoot = wantsSecureBoot(guest, host, q35);
  checkHost(guest, host, architecture);
  return { virtType: host.virtType, architecture, machine, q35, firmware, secureBoot };
}

function guestArchitecture(guest: Guest, host: HostFacts): Architecture {
  const wanted = guest.architecture ?? host.architecture;
  if (wanted !== host.architecture && !(wanted === 'i686' && host.architecture === 'x86_64')) {
    throw unsupportedTerm('hw_architecture', wanted, `this host runs ${host.architecture}`);
  }
  if (guest.emulatedArchitecture !== undefined && guest.emulatedArchitecture !== wanted) {
    throw unsupportedTerm(
      'hw_emulation_architecture',
      guest.emulatedArchitecture,
      `this host runs ${wanted}`,
    );
  }
  return wanted;
}

function wantsSecureBoot(guest: Guest, host: HostFacts, q35: boolean): boolean {
  if (guest.secureBoot === 'required') {
    if (!q35) throw unsupportedTerm('os:secure_boot', 'required', 'needs the machine type q35');
    if (host.secureBoot === false)
      throw unsupportedTerm('os:secure_boot', 'required', 'this host has no such firmware');
    return true;
  }
  return guest.secureBoot === 'optional' && q35 && host.secureBoot === true && guest.firmware === 'uefi';
}

function checkHost(guest: Guest, host: HostFacts, architecture: Architecture): void {
  if (guest.maxVcpus !== undefined && (architecture === 'aarch64' || architecture === 'riscv64')) {
    const value = String(guest.maxVcpus);
    throw unsupportedTerm('node_compute:max_vcpus', value, `QEMU plugs no CPUs in on ${architecture}`);
  }
  const { shares, periodUs, quotaUs } = guest.cpuLimits;
  if (host.cpuTune === false && (shares ?? periodUs ?? quotaUs) !== undefined) {
    const key = shares !== undefined ? 'cpu_shares' : periodUs !== undefined ? 'cpu_period' : 'cpu_quota';
    throw unsupportedTerm(
      `quota:${key}`,
      String(shares ?? periodUs ?? quotaUs),
      'this host has no CPU cgroup',
    );
  }
  if (guest.tpm !== undefined && host.swtpm === false) {
    throw unsupportedTerm('hw:tpm_version', guest.tpm.version, 'this host has no swtpm');
  }
  const { policy, dedicated, emulatorThreads } = guest.placement;
  if (policy === 'shared') return;
  if (host.pinning === undefined) {
    throw unsupportedTerm('hw:cpu_policy', policy, 'no host CPUs are set aside for this instance');
  }
  if (host.pinning.dedicated.length !== dedicated.length) {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `pinning.dedicated names ${host.pinning.dedicated.length} host CPUs for ${dedicated.length} dedicated vCPUs`,
      { operation: 'domainXml', details: { field: 'pinning.dedicated' } },
    );
  }
  if (emulatorThreads === 'isolate' && (host.pinning.emulator ?? []).length === 0) {
    throw unsupportedTerm(
      'hw:emulator_threads_policy',
      'isolate',
      'no host CPU is set aside for the emulator',
    );
  }
}
