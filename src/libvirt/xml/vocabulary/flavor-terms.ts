// Flavor extra specs: which this driver reads, which belong to somebody else, which it refuses.

import type { PageSize } from './rule.js';
import {
  choice,
  flag,
  inconsistent,
  integer,
  invalid,
  never,
  neverTrue,
  pageSize,
  pattern,
  type Rule,
} from './rule.js';

export interface FlavorTerms {
  readonly 'hw:boot_menu'?: boolean;
  readonly 'hw:cpu_cores'?: number;
  readonly 'hw:cpu_dedicated_mask'?: string;
  readonly 'hw:cpu_max_cores'?: number;
  readonly 'hw:cpu_max_sockets'?: number;
  readonly 'hw:cpu_max_threads'?: number;
  readonly 'hw:cpu_policy'?: CpuPolicy;
  readonly 'hw:cpu_realtime'?: boolean;
  readonly 'hw:cpu_realtime_mask'?: string;
  readonly 'hw:cpu_sockets'?: number;
  readonly 'hw:cpu_thread_policy'?: CpuThreadPolicy;
  readonly 'hw:cpu_threads'?: number;
  readonly 'hw:emulator_threads_policy'?: 'share' | 'isolate';
  readonly 'hw:hide_hypervisor_id'?: boolean;
  readonly 'hw:locked_memory'?: boolean;
  readonly 'hw:maxphysaddr_bits'?: number;
  readonly 'hw:maxphysaddr_mode'?: PhysicalAddressMode;
  readonly 'hw:mem_page_size'?: PageSize;
  readonly 'hw:numa_nodes'?: number;
  readonly 'hw:pci_numa_affinity_policy'?: PciNumaPolicy;
  readonly 'hw:pmu'?: boolean;
  readonly 'hw:serial_port_count'?: number;
  readonly 'hw:tpm_model'?: TpmModel;
  readonly 'hw:tpm_version'?: TpmVersion;
  readonly 'hw:vif_multiqueue_enabled'?: boolean;
  readonly 'hw:virtio_packed_ring'?: boolean;
  readonly 'hw:watchdog_action'?: WatchdogAction;
  readonly 'hw_rng:allowed'?: boolean;
  readonly 'hw_rng:rate_bytes'?: number;
  readonly 'hw_rng:rate_period'?: number;
  readonly 'hw_video:ram_max_mb'?: number;
  readonly 'node_compute:max_memory_mb'?: number;
  readonly 'node_compute:max_vcpus'?: number;
  readonly 'os:secure_boot'?: SecureBoot;
  readonly 'quota:cpu_period'?: number;
  readonly 'quota:cpu_quota'?: number;
  readonly 'quota:cpu_shares'?: number;
  readonly 'quota:disk_read_bytes_sec'?: number;
  readonly 'quota:disk_read_iops_sec'?: number;
  readonly 'quota:disk_total_bytes_sec'?: number;
  readonly 'quota:disk_total_iops_sec'?: number;
  readonly 'quota:disk_write_bytes_sec'?: number;
  readonly 'quota:disk_write_iops_sec'?: number;
  readonly 'quota:vif_inbound_average'?: number;
  readonly 'quota:vif_inbound_burst'?: number;
  readonly 'quota:vif_inbound_peak'?: number;
  readonly 'quota:vif_outbound_average'?: number;
  readonly 'quota:vif_outbound_burst'?: number;
  readonly 'quota:vif_outbound_peak'?: number;
}

export type CpuPolicy = 'shared' | 'dedicated' | 'mixed';
export type CpuThreadPolicy = 'prefer' | 'isolate' | 'require';
export type PhysicalAddressMode = 'emulate' | 'passthrough';
export type PciNumaPolicy = 'required' | 'preferred' | 'legacy' | 'socket';
export type TpmModel = 'tpm-tis' | 'tpm-crb';
export type TpmVersion = '1.2' | '2.0';
export type WatchdogAction = 'none' | 'pause' | 'poweroff' | 'reset' | 'disabled';
export type SecureBoot = 'required' | 'disabled' | 'optional';

export type Rules<T> = { readonly [K in keyof T]-?: Rule<Exclude<T[K], undefined>> };

/** More than one instance can have; a bound for the arithmetic, not a promise. */
export const VCPUS_MAX = 4096;
const COUNT_MAX = 65536;

/** Rules that the image's property of the same meaning shares. */
export const cpuCount: Rule<number> = integer(1, COUNT_MAX);
export const cpuPolicy: Rule<CpuPolicy> = choice(['shared', 'dedicated', 'mixed']);
export const cpuThreadPolicy: Rule<CpuThreadPolicy> = choice(['prefer', 'isolate', 'require']);
export const maskText: Rule<string> = pattern(/^\s*\^?\d[\d\s,^-]*$/, 'a CPU list such as 0-3,^2');
export const numaNodes: Rule<number> = integer(1, 128);
export const pciNumaPolicy: Rule<PciNumaPolicy> = choice(['required', 'preferred', 'legacy', 'socket']);
export const physicalAddressMode: Rule<PhysicalAddressMode> = choice(['emulate', 'passthrough']);
export const physicalAddressBits: Rule<number> = integer(32, 64);
export const secureBoot: Rule<SecureBoot> = choice(['required', 'disabled', 'optional']);
export const serialPortCount: Rule<number> = integer(0, 255);
export const tpmModel: Rule<TpmModel> = choice(['tpm-tis', 'tpm-crb']);
export const tpmVersion: Rule<TpmVersion> = choice(['1.2', '2.0']);
export const videoRamMb: Rule<number> = integer(0, 4095);
export const watchdogAction: Rule<WatchdogAction> = choice([
  'none',
  'pause',
  'poweroff',
  'reset',
  'disabled',
]);

const perSecond = integer(0, Number.MAX_SAFE_INTEGER);
const kibPerSecond = integer(0, 4294967295);

const RULES: Rules<FlavorTerms> = {
  'hw:boot_menu': flag(),
  'hw:cpu_cores': cpuCount,
  'hw:cpu_dedicated_mask': maskText,
  'hw:cpu_max_cores': cpuCount,
  'hw:cpu_max_sockets': cpuCount,
  'hw:cpu_max_threads': cpuCount,
  'hw:cpu_policy': cpuPolicy,
  'hw:cpu_realtime': flag(),
  'hw:cpu_realtime_mask': maskText,
  'hw:cpu_sockets': cpuCount,
  'hw:cpu_thread_policy': cpuThreadPolicy,
  'hw:cpu_threads': cpuCount,
  'hw:emulator_threads_policy': choice(['share', 'isolate']),
  'hw:hide_hypervisor_id': flag(),
  'hw:locked_memory': flag(),
  'hw:maxphysaddr_bits': physicalAddressBits,
  'hw:maxphysaddr_mode': physicalAddressMode,
  'hw:mem_page_size': pageSize(),
  'hw:numa_nodes': numaNodes,
  'hw:pci_numa_affinity_policy': pciNumaPolicy,
  'hw:pmu': flag(),
  'hw:serial_port_count': serialPortCount,
  'hw:tpm_model': tpmModel,
  'hw:tpm_version': tpmVersion,
  'hw:vif_multiqueue_enabled': flag(),
  'hw:virtio_packed_ring': flag(),
  'hw:watchdog_action': watchdogAction,
  'hw_rng:allowed': flag(),
  'hw_rng:rate_bytes': integer(0, 4294967295),
  'hw_rng:rate_period': integer(0, 4294967295),
  'hw_video:ram_max_mb': videoRamMb,
  'node_compute:max_memory_mb': integer(1, Number.MAX_SAFE_INTEGER / 1024),
  'node_compute:max_vcpus': integer(1, VCPUS_MAX),
  'os:secure_boot': secureBoot,
  'quota:cpu_period': integer(0, 1_000_000),
  'quota:cpu_quota': integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  'quota:cpu_shares': integer(0, 262_144),
  'quota:disk_read_bytes_sec': perSecond,
  'quota:disk_read_iops_sec': perSecond,
  'quota:disk_total_bytes_sec': perSecond,
  'quota:disk_total_iops_sec': perSecond,
  'quota:disk_write_bytes_sec': perSecond,
  'quota:disk_write_iops_sec': perSecond,
  'quota:vif_inbound_average': kibPerSecond,
  'quota:vif_inbound_burst': kibPerSecond,
  'quota:vif_inbound_peak': kibPerSecond,
  'quota:vif_outbound_average': kibPerSecond,
  'quota:vif_outbound_burst': kibPerSecond,
  'quota:vif_outbound_peak': kibPerSecond,
};

/** Other spellings: Nova's documents and its code disagree on the limits' names. */
const ALIASES: ReadonlyMap<string, keyof FlavorTerms> = new Map<string, keyof FlavorTerms>([
  ['hw:max_cpu_sockets', 'hw:cpu_max_sockets'],
  ['hw:max_cpu_cores', 'hw:cpu_max_cores'],
  ['hw:max_cpu_threads', 'hw:cpu_max_threads'],
  ['hide_hypervisor_id', 'hw:hide_hypervisor_id'],
  ['hw_watchdog_action', 'hw:watchdog_action'],
]);

const VMWARE = 'it is a limit of the VMware driver';
const VMWARE_QUOTAS = ['cpu', 'memory', 'disk_io', 'vif'].flatMap((resource) =>
  ['limit', 'reservation', 'shares_level', 'shares_share'].map((name): [string, Rule<unknown>] => [
    `quota:${resource}_${name}`,
    never(VMWARE),
  ]),
);

const REFUSED: ReadonlyMap<string, Rule<unknown>> = new Map<string, Rule<unknown>>([
  ['accel:device_profile', never('there are no accelerators')],
  ['hw:ephemeral_encryption', neverTrue('disks are not encrypted')],
  ['hw:ephemeral_encryption_format', never('disks are not encrypted')],
  ['hw:mem_encryption', neverTrue('memory is not encrypted')],
  ['hw:mem_encryption_model', never('memory is not encrypted')],
  ['hw:pmem', never('there is no persistent memory')],
  ['hw:redirected_usb_ports', never('USB redirection needs SPICE')],
  ['hw:sound_model', never('there are no sound devices')],
  ['hw:tpm_secret_security', never('the state of a TPM is not encrypted')],
  ['hw:usb_model', never('the USB controller is chosen by the devices that need it')],
  ['hw:viommu_model', never('there is no virtual IOMMU')],
  ['pci_passthrough:alias', never('host devices are not passed through')],
  ...VMWARE_QUOTAS,
]);

/** Scopes in which a key nobody knows is a mistake; keys of other scopes, and those without one, are a scheduler's. */
const SCOPES: ReadonlySet<string> = new Set([
  'hw',
  'hw_rng',
  'hw_video',
  'node_compute',
  'quota',
  'os',
  'accel',
  'pci_passthrough',
]);

const NUMA_KEY = /^hw:numa_(cpus|mem)\.(\d{1,3})$/;

/** Keys of the vocabulary, for documents and tests. */
export const FLAVOR_KEYS: {
  readonly read: readonly string[];
  readonly aliases: readonly string[];
  readonly refused: readonly string[];
} = {
  read: [...Object.keys(RULES), 'hw:numa_cpus.N', 'hw:numa_mem.N'],
  aliases: [...ALIASES.keys()],
  refused: [...REFUSED.keys()],
};

/** CPUs and memory of guest NUMA cells by cell number, unparsed. */
export type NumaEntries = ReadonlyMap<number, { readonly key: string; readonly value: string }>;

export interface ParsedFlavorTerms {
  readonly terms: FlavorTerms;
  readonly numaCpus: NumaEntries;
  readonly numaMemory: NumaEntries;
}

/** Throws `INVALID_ARGUMENT` for a bad value or an unknown key of our scopes, `UNSUPPORTED` for what this driver lacks. */
export function readFlavorTerms(extraSpecs: Readonly<Record<string, string>>): ParsedFlavorTerms {
  const terms: Record<string, unknown> = {};
  const sources = new Map<string, string>();
  const numaCpus = new Map<number, { key: string; value: string }>();
  const numaMemory = new Map<number, { key: string; value: string }>();
  for (const [key, value] of Object.entries(extraSpecs)) {
    const numa = NUMA_KEY.exec(key);
    const name = ALIASES.get(key) ?? key;
    if (numa) {
      (numa[1] === 'cpus' ? numaCpus : numaMemory).set(Number(numa[2]), { key, value });
    } else if (isTerm(name)) {
      const parsed = RULES[name](value, key);
      const other = sources.get(name);
      if (other !== undefined && terms[name] !== parsed)
        throw inconsistent(key, value, `${other} says otherwise`);
      terms[name] = parsed;
      sources.set(name, key);
    } else {
      refuseOrIgnore(key, value);
    }
  }
  return { terms: terms as FlavorTerms, numaCpus, numaMemory };
}

function isTerm(name: string): name is keyof FlavorTerms {
  return Object.hasOwn(RULES, name);
}

function refuseOrIgnore(key: string, value: string): void {
  const refused = REFUSED.get(key);
  if (refused) {
    refused(value, key);
    return;
  }
  const colon = key.indexOf(':');
  if (colon > 0 && SCOPES.has(key.slice(0, colon))) {
    throw invalid(
      key,
      value,
      `no extra spec has this name; those of Nova that start with ${key.slice(0, colon + 1)}`,
    );
  }
}
