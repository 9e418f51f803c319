// What flavor and image ask for, checked against each other: the input of every device file.
import type { Flavor, ImageMeta } from '../../../driver/model.js';
import type { Architecture } from '../host.js';
import { type CpuPlacement, cpuPlacement } from './cpu-policy.js';
import {
  type PhysicalAddressMode,
  type TpmModel,
  type TpmVersion,
  VCPUS_MAX,
  type WatchdogAction,
} from './flavor-terms.js';
import { type Headroom, headroom } from './headroom.js';
import type { DiskBus, InputBus, OsType, ScsiModel, VideoModel, VifModel } from './image-words.js';
import {
  type CpuLimits,
  cpuLimits,
  type DiskLimits,
  diskLimits,
  type VifLimits,
  vifLimits,
} from './limits.js';
import { lockedMemory, memoryPageSize, type NumaCell, numaCells } from './memory.js';
import { conflict, inconsistent, integer, type PageSize } from './rule.js';
import { agreed, lowered, readTerms, type Terms } from './terms.js';
import { type CpuTopology, cpuTopology } from './topology.js';

/** What an undefined member means is the host's affair: its architecture, its defaults. */
export interface Guest extends Headroom {
  readonly vcpus: number;
  readonly memoryMb: number;
  readonly ephemeralGb: number;
  readonly swapMb: number;
  readonly osType: OsType | undefined;
  readonly virtType: 'kvm' | 'qemu' | undefined;
  readonly architecture: Architecture | undefined;
  readonly emulatedArchitecture: Architecture | undefined;
  readonly machine: string | undefined;
  readonly firmware: 'bios' | 'uefi' | undefined;
  readonly secureBoot: 'required' | 'optional' | 'disabled' | undefined;
  readonly bootMenu: boolean;
  readonly topology: CpuTopology;
  readonly placement: CpuPlacement;
  readonly cells: readonly NumaCell[] | undefined;
  readonly pageSize: PageSize | undefined;
  readonly lockedMemory: boolean;
  readonly physicalAddress:
    | { readonly mode: PhysicalAddressMode; readonly bits: number | undefined }
    | undefined;
  readonly hideHypervisorId: boolean;
  readonly pmu: boolean | undefined;
  readonly hpet: boolean;
  readonly cpuLimits: CpuLimits;
  readonly diskLimits: DiskLimits;
  readonly vifLimits: VifLimits;
  /** The root disk is an ISO image. */
  readonly rootIsCdrom: boolean;
  readonly diskBus: DiskBus | undefined;
  readonly cdromBus: DiskBus | undefined;
  readonly scsiModel: ScsiModel | undefined;
  readonly packedRing: boolean;
  readonly vifModel: VifModel;
  readonly vifMultiqueue: boolean;
  readonly serialPorts: number;
  readonly videoModel: VideoModel | undefined;
  readonly videoRamMb: number | undefined;
  readonly pointerBus: InputBus | undefined;
  readonly rng: { readonly bytes: number | undefined; readonly periodMs: number | undefined } | undefined;
  readonly guestAgent: boolean;
  readonly panicDevice: boolean;
  readonly watchdog: Exclude<WatchdogAction, 'disabled'> | undefined;
  readonly tpm: { readonly version: TpmVersion; readonly model: TpmModel } | undefined;
  readonly configDriveMandatory: boolean;
}

/** Throws `INVALID_ARGUMENT`, `UNSUPPORTED` or `FLAVOR_IMAGE_CONFLICT`. Pure. */
export function resolveGuest(flavor: Flavor, image: ImageMeta): Guest {
  const vcpus = integer(1, VCPUS_MAX)(String(flavor.vcpus), 'flavor.vcpus');
  const memoryMb = integer(1, Number.MAX_SAFE_INTEGER / 1024)(String(flavor.memoryMb), 'flavor.memoryMb');
  const terms = readTerms(flavor, image);
  const placement = cpuPlacement(terms, vcpus);
  const page = memoryPageSize(terms);
  const cells = numaCells(terms, flavor, page !== undefined || placement.policy !== 'shared');
  const most = headroom(terms, flavor, cells);
  agreed(terms, 'hw:pci_numa_affinity_policy', 'hw_pci_numa_affinity_policy');
  return {
    vcpus,
    memoryMb,
    ephemeralGb: flavor.ephemeralGb,
    swapMb: flavor.swapMb,
    ...platform(terms),
    ...most,
    topology: cpuTopology(terms, most.maxVcpus ?? vcpus),
    placement,
    cells,
    pageSize: page,
    lockedMemory: lockedMemory(terms, page),
    physicalAddress: physicalAddress(terms),
    hideHypervisorId:
      (terms.flavor['hw:hide_hypervisor_id'] ?? false) || (terms.image.img_hide_hypervisor_id ?? false),
    pmu: agreed(terms, 'hw:pmu', 'hw_pmu'),
    hpet: terms.image.hw_time_hpet ?? false,
    cpuLimits: cpuLimits(terms.flavor),
    diskLimits: diskLimits(terms.flavor),
    vifLimits: vifLimits(terms.flavor),
    rootIsCdrom: image.diskFormat === 'iso',
    ...devices(terms),
  };
}

type Platform =
  | 'osType'
  | 'virtType'
  | 'architecture'
  | 'emulatedArchitecture'
  | 'machine'
  | 'firmware'
  | 'secureBoot';

function platform(terms: Terms): Pick<Guest, Platform | 'bootMenu' | 'configDriveMandatory'> {
  const { flavor, image } = terms;
  const secureBoot = agreed(terms, 'os:secure_boot', 'os_secure_boot');
  if (secureBoot === 'required' && image.hw_firmware_type !== 'uefi') {
    const key = flavor['os:secure_boot'] === undefined ? 'os_secure_boot' : 'os:secure_boot';
    throw inconsistent(key, secureBoot, "needs the image's hw_firmware_type=uefi");
  }
  return {
    osType: image.os_type,
    virtType: image.img_hv_type,
    architecture: image.hw_architecture,
    emulatedArchitecture: image.hw_emulation_architecture,
    machine: image.hw_machine_type,
    firmware: image.hw_firmware_type,
    secureBoot,
    bootMenu: image.hw_boot_menu ?? flavor['hw:boot_menu'] ?? false,
    configDriveMandatory: image.img_config_drive === 'mandatory',
  };
}

type Devices =
  | 'diskBus'
  | 'cdromBus'
  | 'scsiModel'
  | 'packedRing'
  | 'vifModel'
  | 'vifMultiqueue'
  | 'serialPorts';
type Peripherals =
  | 'videoModel'
  | 'videoRamMb'
  | 'pointerBus'
  | 'rng'
  | 'guestAgent'
  | 'panicDevice'
  | 'watchdog'
  | 'tpm';

function devices(terms: Terms): Pick<Guest, Devices | Peripherals> {
  const { flavor, image } = terms;
  // As in Nova the image's word on the watchdog beats the flavor's.
  const watchdog = image.hw_watchdog_action ?? flavor['hw:watchdog_action'] ?? 'disabled';
  return {
    diskBus: image.hw_disk_bus,
    cdromBus: image.hw_cdrom_bus,
    scsiModel: image.hw_scsi_model,
    packedRing: agreed(terms, 'hw:virtio_packed_ring', 'hw_virtio_packed_ring') ?? false,
    vifModel: image.hw_vif_model ?? 'virtio',
    vifMultiqueue: agreed(terms, 'hw:vif_multiqueue_enabled', 'hw_vif_multiqueue_enabled') ?? false,
    serialPorts: lowered(terms, 'hw:serial_port_count', 'hw_serial_port_count') ?? 1,
    videoModel: image.hw_video_model,
    videoRamMb: videoRam(terms),
    pointerBus: image.hw_input_bus ?? (image.hw_pointer_model === 'usbtablet' ? 'usb' : undefined),
    rng: rng(terms),
    guestAgent: image.hw_qemu_guest_agent ?? false,
    panicDevice: image.hw_panic_device ?? false,
    watchdog: watchdog === 'disabled' ? undefined : watchdog,
    tpm: tpm(terms),
  };
}

function videoRam({ flavor, image }: Terms): number | undefined {
  const wanted = image.hw_video_ram ?? 0;
  const limit = flavor['hw_video:ram_max_mb'] ?? 0;
  if (wanted > limit) throw conflict('hw_video:ram_max_mb', String(limit), 'hw_video_ram', String(wanted));
  return wanted === 0 ? undefined : wanted;
}

function rng({ flavor }: Terms): Guest['rng'] {
  if (flavor['hw_rng:allowed'] === false) return undefined;
  const bytes = flavor['hw_rng:rate_bytes'];
  const periodMs = flavor['hw_rng:rate_period'];
  if (bytes === undefined || bytes === 0) return { bytes: undefined, periodMs: undefined };
  return { bytes, periodMs: periodMs === 0 ? undefined : periodMs };
}

function tpm(terms: Terms): Guest['tpm'] {
  const version = agreed(terms, 'hw:tpm_version', 'hw_tpm_version');
  const model = agreed(terms, 'hw:tpm_model', 'hw_tpm_model');
  if (version === undefined) {
    if (model !== undefined) throw inconsistent('hw:tpm_model', model, 'needs hw:tpm_version');
    return undefined;
  }
  if (model === 'tpm-crb' && version !== '2.0')
    throw inconsistent('hw:tpm_model', model, 'needs hw:tpm_version=2.0');
  return { version, model: model ?? 'tpm-tis' };
}

function physicalAddress(terms: Terms): Guest['physicalAddress'] {
  const mode = agreed(terms, 'hw:maxphysaddr_mode', 'hw_maxphysaddr_mode');
  const bits = agreed(terms, 'hw:maxphysaddr_bits', 'hw_maxphysaddr_bits');
  if (mode === undefined) {
    if (bits !== undefined)
      throw inconsistent('hw:maxphysaddr_bits', String(bits), 'needs hw:maxphysaddr_mode=emulate');
    return undefined;
  }
  if (mode === 'passthrough' && bits !== undefined) {
    throw inconsistent('hw:maxphysaddr_bits', String(bits), 'needs hw:maxphysaddr_mode=emulate');
  }
  if (mode === 'emulate' && bits === undefined) {
    throw inconsistent('hw:maxphysaddr_mode', mode, 'needs hw:maxphysaddr_bits');
  }
  return { mode, bits };
}
