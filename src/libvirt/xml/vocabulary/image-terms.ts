// Image properties: which this driver reads, under which old names, which are for others, which it refuses.

import type { Architecture } from '../host.js';
import type {
  CpuPolicy,
  CpuThreadPolicy,
  NumaEntries,
  PciNumaPolicy,
  PhysicalAddressMode,
  Rules,
  SecureBoot,
  TpmModel,
  TpmVersion,
  WatchdogAction,
} from './flavor-terms.js';
import {
  cpuCount,
  cpuPolicy,
  cpuThreadPolicy,
  maskText,
  numaNodes,
  pciNumaPolicy,
  physicalAddressBits,
  physicalAddressMode,
  secureBoot,
  serialPortCount,
  tpmModel,
  tpmVersion,
  videoRamMb,
  watchdogAction,
} from './flavor-terms.js';
import {
  architecture,
  type DiskBus,
  diskBus,
  hypervisorType,
  type InputBus,
  type OsType,
  type ScsiModel,
  scsiModel,
  type VideoModel,
  type VifModel,
  vifModel,
} from './image-words.js';
import { choice, flag, never, neverTrue, type PageSize, pageSize, pattern, type Rule } from './rule.js';

export interface ImageTerms {
  readonly hw_architecture?: Architecture;
  readonly hw_boot_menu?: boolean;
  readonly hw_cdrom_bus?: DiskBus;
  readonly hw_cpu_cores?: number;
  readonly hw_cpu_max_cores?: number;
  readonly hw_cpu_max_sockets?: number;
  readonly hw_cpu_max_threads?: number;
  readonly hw_cpu_policy?: CpuPolicy;
  readonly hw_cpu_realtime_mask?: string;
  readonly hw_cpu_sockets?: number;
  readonly hw_cpu_thread_policy?: CpuThreadPolicy;
  readonly hw_cpu_threads?: number;
  readonly hw_disk_bus?: DiskBus;
  readonly hw_emulation_architecture?: Architecture;
  readonly hw_firmware_type?: 'bios' | 'uefi';
  readonly hw_floppy_bus?: string;
  readonly hw_input_bus?: InputBus;
  readonly hw_locked_memory?: boolean;
  readonly hw_machine_type?: string;
  readonly hw_maxphysaddr_bits?: number;
  readonly hw_maxphysaddr_mode?: PhysicalAddressMode;
  readonly hw_mem_page_size?: PageSize;
  readonly hw_numa_nodes?: number;
  readonly hw_pci_numa_affinity_policy?: PciNumaPolicy;
  readonly hw_pmu?: boolean;
  readonly hw_pointer_model?: 'usbtablet';
  readonly hw_qemu_guest_agent?: boolean;
  /** Ours: Nova knows no such device. */
  readonly hw_panic_device?: boolean;
  readonly hw_rescue_bus?: string;
  readonly hw_rescue_device?: string;
  readonly hw_rng_model?: 'virtio';
  readonly hw_scsi_model?: ScsiModel;
  readonly hw_serial_port_count?: number;
  readonly hw_time_hpet?: boolean;
  readonly hw_tpm_model?: TpmModel;
  readonly hw_tpm_version?: TpmVersion;
  readonly hw_video_model?: VideoModel;
  readonly hw_video_ram?: number;
  readonly hw_vif_model?: VifModel;
  readonly hw_vif_multiqueue_enabled?: boolean;
  readonly hw_virtio_packed_ring?: boolean;
  readonly hw_vm_mode?: 'hvm';
  readonly hw_watchdog_action?: WatchdogAction;
  readonly img_config_drive?: 'mandatory' | 'optional';
  readonly img_hide_hypervisor_id?: boolean;
  readonly img_hv_type?: 'kvm' | 'qemu';
  readonly os_require_quiesce?: boolean;
  readonly os_secure_boot?: SecureBoot;
  readonly os_type?: OsType;
}

const RULES: Rules<ImageTerms> = {
  hw_architecture: architecture,
  hw_boot_menu: flag(),
  hw_cdrom_bus: diskBus,
  hw_cpu_cores: cpuCount,
  hw_cpu_max_cores: cpuCount,
  hw_cpu_max_sockets: cpuCount,
  hw_cpu_max_threads: cpuCount,
  hw_cpu_policy: cpuPolicy,
  hw_cpu_realtime_mask: maskText,
  hw_cpu_sockets: cpuCount,
  hw_cpu_thread_policy: cpuThreadPolicy,
  hw_cpu_threads: cpuCount,
  hw_disk_bus: diskBus,
  hw_emulation_architecture: architecture,
  hw_firmware_type: choice(['bios', 'uefi']),
  hw_floppy_bus: choice(['fdc', 'fd', 'scsi', 'ide', 'usb', 'sata', 'virtio', 'xen', 'lxc', 'uml']),
  hw_input_bus: choice(['usb', 'virtio']),
  hw_locked_memory: flag(),
  hw_machine_type: pattern(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'a machine type of QEMU such as pc, q35 or pc-q35-7.2',
  ),
  hw_maxphysaddr_bits: physicalAddressBits,
  hw_maxphysaddr_mode: physicalAddressMode,
  hw_mem_page_size: pageSize(),
  hw_numa_nodes: numaNodes,
  hw_pci_numa_affinity_policy: pciNumaPolicy,
  hw_pmu: flag(),
  hw_pointer_model: choice(['usbtablet']),
  hw_qemu_guest_agent: flag(),
  hw_panic_device: flag(),
  hw_rescue_bus: choice(['virtio', 'scsi', 'sata', 'ide', 'usb', 'fdc', 'xen', 'lxc', 'uml']),
  hw_rescue_device: choice(['disk', 'cdrom', 'floppy', 'lun', 'fs']),
  hw_rng_model: choice(['virtio']),
  hw_scsi_model: scsiModel,
  hw_serial_port_count: serialPortCount,
  hw_time_hpet: flag(),
  hw_tpm_model: tpmModel,
  hw_tpm_version: tpmVersion,
  hw_video_model: choice(['virtio', 'vga', 'cirrus', 'qxl', 'vmvga', 'bochs', 'none'], {
    elsewhere: ['xen', 'gop'],
  }),
  hw_video_ram: videoRamMb,
  hw_vif_model: vifModel,
  hw_vif_multiqueue_enabled: flag(),
  hw_virtio_packed_ring: flag(),
  hw_vm_mode: choice(['hvm'], {
    lowerCase: true,
    aliases: { hv: 'hvm', baremetal: 'hvm', pv: 'xen' },
    elsewhere: ['xen', 'uml', 'exe'],
  }),
  hw_watchdog_action: watchdogAction,
  img_config_drive: choice(['mandatory', 'optional']),
  img_hide_hypervisor_id: flag(),
  img_hv_type: hypervisorType,
  os_require_quiesce: flag(),
  os_secure_boot: secureBoot,
  os_type: choice(['linux', 'windows'], { lowerCase: true }),
};

const LEGACY: ReadonlyMap<string, keyof ImageTerms> = new Map<string, keyof ImageTerms>([
  ['architecture', 'hw_architecture'],
  ['vm_mode', 'hw_vm_mode'],
  ['hypervisor_type', 'img_hv_type'],
]);

/** Old name of two properties at once: `ide`, or the model of a SCSI controller. */
const LEGACY_ADAPTER = 'vmware_adaptertype';

const REFUSED: ReadonlyMap<string, Rule<unknown>> = new Map<string, Rule<unknown>>([
  ['hw_ephemeral_encryption', neverTrue('disks are not encrypted')],
  ['hw_ephemeral_encryption_format', never('disks are not encrypted')],
  ['hw_ephemeral_encryption_secret_uuid', never('disks are not encrypted')],
  ['hw_firmware_stateless', neverTrue('UEFI keeps its variables')],
  ['hw_mem_encryption', neverTrue('memory is not encrypted')],
  ['hw_mem_encryption_model', never('memory is not encrypted')],
  ['hw_redirected_usb_ports', never('USB redirection needs SPICE')],
  ['hw_sound_model', never('there are no sound devices')],
  ['hw_tpm_secret_security', never('the state of a TPM is not encrypted')],
  ['hw_usb_model', never('the USB controller is chosen by the devices that need it')],
  ['hw_viommu_model', never('there is no virtual IOMMU')],
  ['kernel_id', never('only whole disk images are booted')],
  ['ramdisk_id', never('only whole disk images are booted')],
  ['os_command_line', never('only whole disk images are booted')],
]);

const NUMA_KEY = /^hw_numa_(cpus|mem)\.(\d{1,3})$/;

/** Keys of the vocabulary, for documents and tests. Any other property is for somebody else and ignored. */
export const IMAGE_KEYS: {
  readonly read: readonly string[];
  readonly legacy: readonly string[];
  readonly refused: readonly string[];
} = {
  read: [...Object.keys(RULES), 'hw_numa_cpus.N', 'hw_numa_mem.N'],
  legacy: [...LEGACY.keys(), LEGACY_ADAPTER],
  refused: [...REFUSED.keys()],
};

export interface ParsedImageTerms {
  readonly terms: ImageTerms;
  readonly numaCpus: NumaEntries;
  readonly numaMemory: NumaEntries;
}

/** Throws `INVALID_ARGUMENT` for a bad value, `UNSUPPORTED` for what this driver lacks. A current name beats its old one. */
export function readImageTerms(properties: Readonly<Record<string, string>>): ParsedImageTerms {
  const terms: Record<string, unknown> = readLegacy(properties);
  const numaCpus = new Map<number, { key: string; value: string }>();
  const numaMemory = new Map<number, { key: string; value: string }>();
  for (const [key, value] of Object.entries(properties)) {
    const numa = NUMA_KEY.exec(key);
    if (numa) (numa[1] === 'cpus' ? numaCpus : numaMemory).set(Number(numa[2]), { key, value });
    else if (isTerm(key)) terms[key] = RULES[key](value, key);
    // An empty id is how a snapshot of a disk image says that there is no kernel.
    else if (value !== '' || !key.endsWith('_id')) REFUSED.get(key)?.(value, key);
  }
  return { terms: terms as ImageTerms, numaCpus, numaMemory };
}

function readLegacy(properties: Readonly<Record<string, string>>): Record<string, unknown> {
  const terms: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(properties)) {
    const name = LEGACY.get(key);
    if (name !== undefined && !Object.hasOwn(properties, name)) terms[name] = RULES[name](value, key);
    if (key === LEGACY_ADAPTER && !Object.hasOwn(properties, 'hw_disk_bus')) {
      terms.hw_disk_bus = value.toLowerCase() === 'ide' ? 'ide' : 'scsi';
      if (terms.hw_disk_bus === 'scsi') terms.hw_scsi_model = scsiModel(value, key);
    }
  }
  return terms;
}

function isTerm(name: string): name is keyof ImageTerms {
  return Object.hasOwn(RULES, name);
}
