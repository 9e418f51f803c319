// What the domain XML must know of the host and of the instance's files.

/** Those this library knows the defaults of; as libvirt names them. */
export type Architecture = 'x86_64' | 'i686' | 'aarch64' | 'ppc64le' | 'ppc64' | 's390x' | 'riscv64';

export const ARCHITECTURES: readonly Architecture[] = [
  'x86_64',
  'i686',
  'aarch64',
  'ppc64le',
  'ppc64',
  's390x',
  'riscv64',
];

/** `none` writes no CPU model: QEMU's default for the machine type. */
export type CpuMode = 'host-passthrough' | 'host-model' | 'maximum' | 'custom' | 'none';

export const CPU_MODES: readonly CpuMode[] = ['host-passthrough', 'host-model', 'maximum', 'custom', 'none'];

export type DiskCache = 'none' | 'writeback' | 'writethrough' | 'directsync' | 'unsafe';

export const DISK_CACHES: readonly DiskCache[] = [
  'none',
  'writeback',
  'writethrough',
  'directsync',
  'unsafe',
];

/** Host CPUs that the caller has set aside for one instance; without it a flavor that asks for dedicated CPUs is refused. */
export interface CpuPinning {
  /** One host CPU for each dedicated vCPU, in the order of the vCPUs. */
  readonly dedicated: readonly number[];
  /** Host CPUs on which shared vCPUs of a `mixed` instance, and its emulator threads, may run. Default: any. */
  readonly shared?: readonly number[] | undefined;
  /** Host CPUs kept for the emulator threads; `hw:emulator_threads_policy=isolate` needs it. */
  readonly emulator?: readonly number[] | undefined;
  /** Host NUMA node of each guest NUMA cell; memory then comes from that node only. Default: any. */
  readonly nodes?: readonly number[] | undefined;
  /** Of the large pages set aside for it, where the flavor leaves the size open. Default: the kernel's default size. */
  readonly pageSizeKib?: number | undefined;
}

/** The host, without anything of one instance. */
export interface HostFacts {
  /** `qemu` is emulation (TCG): settings that need KVM are left out or replaced, see docs/domain-xml.md. */
  readonly virtType: 'kvm' | 'qemu';
  readonly architecture: Architecture;
  /** Absolute path of the QEMU binary. Default: libvirt's choice. */
  readonly emulator?: string | undefined;
  /** Machine type for images that name none. Default: `pc` on x86 (`q35` with UEFI), `virt`, `pseries`, `s390-ccw-virtio`. */
  readonly machine?: string | undefined;
  /** PCI Express ports of q35 and virt machines; those that no device takes are free for attaching. Default 0: libvirt's choice. */
  readonly pciePorts?: number | undefined;
  /** Default: kvm takes `host-model` (`host-passthrough` on aarch64), qemu takes `none` (`maximum` on aarch64). */
  readonly cpuMode?: CpuMode | undefined;
  /** The model of `custom`. */
  readonly cpuModel?: string | undefined;
  /** False where there is no CPU cgroup: `quota:cpu_*` is refused. Default true. */
  readonly cpuTune?: boolean | undefined;
  /** False where swtpm is missing: `hw:tpm_*` is refused. Default: libvirt finds out at start. */
  readonly swtpm?: boolean | undefined;
  /** Whether there is firmware with Secure Boot. Default: libvirt finds out at start, and `optional` means without. */
  readonly secureBoot?: boolean | undefined;
  readonly pinning?: CpuPinning | undefined;
  /** Address VNC listens on, e.g. `127.0.0.1`. Default: no VNC and no graphics adapter. */
  readonly vncListen?: string | undefined;
  /** Whether QEMU can use /dev/vhost-net. Default: libvirt finds out at start. */
  readonly vhostNet?: boolean | undefined;
  /** Most queues of an interface with more than one. Default 256. */
  readonly maxQueues?: number | undefined;
  /** Network filter of every interface that names none. Default none. */
  readonly vifFilter?: string | undefined;
  /** Default `none` (O_DIRECT), which tmpfs has only since Linux 6.6. */
  readonly diskCache?: DiskCache | undefined;
  /** How often the guest's balloon reports, in seconds; 0 for never. Default 10, as Nova. */
  readonly memoryStatsPeriodSeconds?: number | undefined;
  /** Source of the guest's random numbers. Default `/dev/urandom`. */
  readonly rngDevice?: string | undefined;
  /** Manufacturer and product in the guest's SMBIOS tables. Default `node-compute` twice. */
  readonly smbios?: { readonly manufacturer: string; readonly product: string } | undefined;
  /** Version of this package, for the metadata and the SMBIOS tables. */
  readonly packageVersion: string;
}

/** The host and the files of one instance. All paths are absolute. */
export interface DomainHost extends HostFacts {
  readonly diskPath: string;
  /** Of all disks, in so far as no other is named. */
  readonly diskFormat: 'qcow2' | 'raw';
  /** The base that the root disk stands on. Named, it is never relabelled: it belongs to many instances. */
  readonly backingPath?: string | undefined;
  /** Default `raw`. */
  readonly backingFormat?: 'qcow2' | 'raw' | undefined;
  /** What the guest writes to its first serial port is appended to this file. */
  readonly consoleLogPath: string;
  /** An ISO 9660 file, shown as a CD-ROM. */
  readonly configDrivePath?: string | undefined;
  /** Disk of the flavor's `ephemeralGb`. */
  readonly ephemeralPath?: string | undefined;
  readonly ephemeralFormat?: 'qcow2' | 'raw' | undefined;
  /** The raw base that it stands on; as {@link backingPath}. */
  readonly ephemeralBackingPath?: string | undefined;
  /** Disk of the flavor's `swapMb`. */
  readonly swapPath?: string | undefined;
  /** The raw base that it stands on; as {@link backingPath}. */
  readonly swapBackingPath?: string | undefined;
  /** The disk it is rescued with, which it boots from. */
  readonly rescuePath?: string | undefined;
  readonly rescueFormat?: 'qcow2' | 'raw' | undefined;
  readonly rescueDevice?: 'disk' | 'cdrom' | undefined;
  /** Default that of its own disks or CD-ROMs. */
  readonly rescueBus?: 'virtio' | 'scsi' | 'sata' | 'ide' | 'usb' | undefined;
  /** Before or behind its own disks and volumes. Default `first`. */
  readonly rescueOrder?: 'first' | 'last' | undefined;
  /** As {@link backingPath} and {@link backingFormat}. */
  readonly rescueBackingPath?: string | undefined;
  readonly rescueBackingFormat?: 'qcow2' | 'raw' | undefined;
  /** UEFI variables. Default: libvirt's own place. */
  readonly nvramPath?: string | undefined;
}

export function isX86(architecture: Architecture): boolean {
  return architecture === 'x86_64' || architecture === 'i686';
}
