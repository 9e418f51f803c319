// What a node can do, in the words of OpenStack's os-traits, as Nova derives them.
import type { DriverCapabilities } from '../driver/compute-driver.js';
import { enumOf } from './capabilities.js';

/** CPU features whose traits are not HW_CPU_X86_ and the feature's own name. */
const OTHER_NAMES: Readonly<Record<string, readonly string[]>> = {
  aes: ['AESNI'],
  'avx512-vpopcntdq': ['AVX512VPOPCNTDQ'],
  bmi1: ['BMI'],
  fma: ['FMA3'],
  gfni: ['AVX512GFNI'],
  pclmuldq: ['CLMUL'],
  pni: ['SSE3'],
  'sha-ni': ['SHA'],
  'sse4.1': ['SSE41'],
  'sse4.2': ['SSE42'],
  svm: ['SVM', 'AMD_SVM'],
  vaes: ['AVX512VAES'],
  vmx: ['VMX', 'INTEL_VMX'],
  vpclmulqdq: ['AVX512VPCLMULQDQ'],
};
const SAME_NAMES: ReadonlySet<string> = new Set(
  `3dnow abm avx avx2 avx512bitalg avx512bw avx512cd avx512dq avx512er avx512f avx512ifma avx512pf avx512vbmi
  avx512vbmi2 avx512vl avx512vnni bmi2 f16c fma4 mmx mpx sse sse2 sse3 sse4a ssse3 tbm xop`.split(/\s+/),
);

/** Formats of images that this library checks and converts. */
const IMAGE_TYPES = ['AKI', 'AMI', 'ARI', 'ISO', 'PLOOP', 'QCOW2', 'RAW', 'VDI', 'VHD', 'VHDX', 'VMDK'];
const X86_VIF_MODELS = ['E1000', 'E1000E', 'NE2K_PCI', 'PCNET', 'RTL8139', 'VIRTIO', 'VMXNET3'];
const DISK_BUSES: ReadonlySet<string> = new Set(['ide', 'sata', 'scsi', 'usb', 'virtio']);
const GRAPHICS_MODELS: ReadonlySet<string> = new Set([
  'bochs',
  'cirrus',
  'none',
  'qxl',
  'vga',
  'virtio',
  'vmvga',
]);

export interface TraitSources {
  readonly architecture: string;
  readonly cpuFeatures: readonly string[];
  readonly capabilities: DriverCapabilities;
  /** Of the hypervisor for this host's own architecture. */
  readonly domainCapabilities: string;
}

/** Sorted. */
export function traitsOf(sources: TraitSources): string[] {
  const { architecture, cpuFeatures, capabilities, domainCapabilities } = sources;
  const x86 = architecture === 'x86_64' || architecture === 'i686';
  const traits = [
    'COMPUTE_NODE',
    ...(x86 ? cpuFeatures.flatMap(cpuTraits) : []),
    ...IMAGE_TYPES.map((type) => `COMPUTE_IMAGE_TYPE_${type}`),
    ...(x86 ? X86_VIF_MODELS : ['VIRTIO']).map((model) => `COMPUTE_NET_VIF_MODEL_${model}`),
    ...named('COMPUTE_STORAGE_BUS_', enumOf(domainCapabilities, 'disk', 'bus'), DISK_BUSES),
    ...named('COMPUTE_GRAPHICS_MODEL_', enumOf(domainCapabilities, 'video', 'modelType'), GRAPHICS_MODELS),
    ...(capabilities.attachInterface ? ['COMPUTE_NET_ATTACH_INTERFACE'] : []),
    ...(capabilities.extendVolume ? ['COMPUTE_VOLUME_EXTEND'] : []),
  ];
  return [...new Set(traits)].sort();
}

function cpuTraits(feature: string): string[] {
  const names = OTHER_NAMES[feature] ?? (SAME_NAMES.has(feature) ? [feature.toUpperCase()] : []);
  return names.map((name) => `HW_CPU_X86_${name}`);
}

function named(prefix: string, values: readonly string[], known: ReadonlySet<string>): string[] {
  return values.filter((value) => known.has(value)).map((value) => prefix + value.toUpperCase());
}
