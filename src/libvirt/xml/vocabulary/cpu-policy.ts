// Which vCPUs float, which are pinned, which run in real time.
import type { CpuPolicy } from './flavor-terms.js';
import { conflict, cpuMask, inconsistent, unsupportedTerm } from './rule.js';
import type { Terms } from './terms.js';

export interface CpuPlacement {
  readonly policy: CpuPolicy;
  /** vCPUs that get a host CPU of their own. */
  readonly dedicated: readonly number[];
  readonly realtime: readonly number[];
  readonly emulatorThreads: 'share' | 'isolate' | undefined;
}

/** Throws `FLAVOR_IMAGE_CONFLICT`, `INVALID_ARGUMENT` or `UNSUPPORTED`. Whether the host gives CPUs is asked later. */
export function cpuPlacement(terms: Terms, vcpus: number): CpuPlacement {
  const policy = cpuPolicyOf(terms);
  const all = Array.from({ length: vcpus }, (_, cpu) => cpu);
  const realtime = realtimeCpus(terms, policy, vcpus);
  const mask = terms.flavor['hw:cpu_dedicated_mask'];
  checkThreadPolicy(terms, policy);
  if (mask !== undefined && policy !== 'mixed') {
    throw inconsistent('hw:cpu_dedicated_mask', mask, 'needs hw:cpu_policy=mixed');
  }
  const emulatorThreads = terms.flavor['hw:emulator_threads_policy'];
  if (emulatorThreads === 'isolate' && policy === 'shared') {
    throw inconsistent('hw:emulator_threads_policy', 'isolate', 'needs hw:cpu_policy=dedicated or mixed');
  }
  if (policy === 'shared') return { policy, dedicated: [], realtime, emulatorThreads };
  if (policy === 'dedicated') return { policy, dedicated: all, realtime, emulatorThreads };
  return { policy, dedicated: mixedCpus(mask, realtime, vcpus), realtime, emulatorThreads };
}

function cpuPolicyOf({ flavor, image }: Terms): CpuPolicy {
  const ofFlavor = flavor['hw:cpu_policy'];
  const ofImage = image.hw_cpu_policy;
  const weaker =
    (ofFlavor === 'shared' && (ofImage === 'dedicated' || ofImage === 'mixed')) ||
    (ofFlavor === 'mixed' && ofImage === 'dedicated');
  if (ofFlavor !== undefined && ofImage !== undefined && weaker) {
    throw conflict('hw:cpu_policy', ofFlavor, 'hw_cpu_policy', ofImage);
  }
  return ofFlavor ?? ofImage ?? 'shared';
}

function checkThreadPolicy({ flavor, image }: Terms, policy: CpuPolicy): void {
  const ofFlavor = flavor['hw:cpu_thread_policy'];
  const ofImage = image.hw_cpu_thread_policy;
  if (ofFlavor !== undefined && ofFlavor !== 'prefer' && ofImage !== undefined && ofImage !== ofFlavor) {
    throw conflict('hw:cpu_thread_policy', ofFlavor, 'hw_cpu_thread_policy', ofImage);
  }
  const wanted = ofFlavor === undefined || ofFlavor === 'prefer' ? (ofImage ?? ofFlavor) : ofFlavor;
  if (wanted === undefined) return;
  const key = wanted === ofFlavor ? 'hw:cpu_thread_policy' : 'hw_cpu_thread_policy';
  if (policy === 'shared') throw inconsistent(key, wanted, 'needs the CPU policy dedicated or mixed');
  if (wanted !== 'prefer')
    throw unsupportedTerm(key, wanted, 'host CPUs are the choice of the caller; prefer is taken');
}

function realtimeCpus({ flavor, image }: Terms, policy: CpuPolicy, vcpus: number): number[] {
  if (flavor['hw:cpu_realtime'] !== true) return [];
  if (policy === 'shared')
    throw inconsistent('hw:cpu_realtime', 'true', 'needs hw:cpu_policy=dedicated or mixed');
  const ofImage = image.hw_cpu_realtime_mask;
  const key = ofImage === undefined ? 'hw:cpu_realtime_mask' : 'hw_cpu_realtime_mask';
  const mask = ofImage ?? flavor['hw:cpu_realtime_mask'];
  const cpus = mask === undefined ? cpuMask(`0-${vcpus - 1}`, key, vcpus) : cpuMask(mask, key, vcpus);
  if (cpus.length === 0) throw inconsistent(key, mask ?? '', 'leaves no vCPU in real time');
  if (cpus.length === vcpus && flavor['hw:emulator_threads_policy'] === undefined) {
    throw inconsistent(
      key,
      mask ?? '',
      'leaves no vCPU for housekeeping; exclude one, such as ^0, or set hw:emulator_threads_policy',
    );
  }
  return cpus;
}

function mixedCpus(mask: string | undefined, realtime: readonly number[], vcpus: number): readonly number[] {
  if ((mask === undefined) === (realtime.length === 0)) {
    throw inconsistent(
      'hw:cpu_policy',
      'mixed',
      'needs one of hw:cpu_dedicated_mask and hw:cpu_realtime with its mask',
    );
  }
  if (mask === undefined) return realtime;
  const cpus = cpuMask(mask, 'hw:cpu_dedicated_mask', vcpus);
  if (cpus.length === 0 || cpus.length === vcpus) {
    throw inconsistent('hw:cpu_dedicated_mask', mask, 'must leave vCPUs of both kinds');
  }
  return cpus;
}
