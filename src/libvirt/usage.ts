// What the instances use, from one native sample of all domains and one look at their files.
import { join } from 'node:path';
import type { InstanceUsage, UsageGroup } from '../driver/usage.js';
import { callNative, type NativeUsageSample } from '../native.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { DISK_NAMES } from './instance-disks.js';
import { powerState } from './states.js';
import { DOMAIN_NAMESPACE } from './xml/domain.js';

/** Bits of native/libvirt/usage.h; what is not there comes unasked. */
const GROUPS: Readonly<Partial<Record<UsageGroup, number>>> = { disk: 1, network: 2, vcpu: 4 };

/** Columns of a row in native/addon/usage_sample.cc. */
const Column = {
  id: 0,
  state: 1,
  saved: 2,
  timestampMs: 3,
  vcpus: 4,
  cpuTimeNs: 5,
  memoryKib: 6,
  maxMemoryKib: 7,
  rssBytes: 8,
  disk: 9,
  network: 13,
  vcpuTimesAt: 19,
  vcpuTimes: 20,
  count: 21,
} as const;

/** A file of an instance that counts as its disk, beside those of {@link DISK_NAMES}. */
const OTHER_DISK_FILES = ['disk.config'];

export async function sampleUsage(
  hypervisor: Hypervisor,
  groups: readonly UsageGroup[],
  context: CallContext,
): Promise<NativeUsageSample> {
  const bits = groups.reduce((sum, group) => sum | (GROUPS[group] ?? 0), 0);
  return await hypervisor.call(context, (connection, id) => connection.usage(bits, DOMAIN_NAMESPACE, id));
}

export async function instancesUsage(
  hypervisor: Hypervisor,
  instancesPath: string,
  groups: readonly UsageGroup[],
  context: CallContext,
): Promise<InstanceUsage[]> {
  const sample = await sampleUsage(hypervisor, groups, context);
  const allocated = groups.includes('disk')
    ? await allocatedBytes(instancesPath, sample.uuids, context)
    : undefined;
  return usageOf(sample, allocated);
}

/** `allocated` has a figure for each domain of the sample; NaN where it has no files. */
export function usageOf(sample: NativeUsageSample, allocated?: readonly number[]): InstanceUsage[] {
  const numbers = new Float64Array(sample.figures);
  const integers = new BigUint64Array(sample.figures);
  return sample.uuids.map((uuid, index) => {
    const row = index * Column.count;
    const number = (column: number): number => numbers[row + column] ?? Number.NaN;
    const known = (value: number | undefined): number | undefined =>
      value === undefined || Number.isNaN(value) ? undefined : value;
    const vcpuTimesAt = number(Column.vcpuTimesAt);
    const vcpuTimes = number(Column.vcpuTimes);
    return {
      uuid,
      name: sample.names[index] ?? '',
      powerState: powerState(number(Column.state), number(Column.saved) === 1),
      timestampMs: number(Column.timestampMs),
      vcpus: number(Column.vcpus),
      cpuTimeNs: integers[row + Column.cpuTimeNs] ?? 0n,
      memoryMb: Math.floor(number(Column.memoryKib) / 1024),
      maxMemoryMb: Math.floor(number(Column.maxMemoryKib) / 1024),
      rssBytes: known(number(Column.rssBytes)),
      disk: Number.isNaN(number(Column.disk))
        ? undefined
        : {
            readBytes: number(Column.disk),
            writeBytes: number(Column.disk + 1),
            readRequests: number(Column.disk + 2),
            writeRequests: number(Column.disk + 3),
          },
      network: Number.isNaN(number(Column.network))
        ? undefined
        : {
            rxBytes: number(Column.network),
            txBytes: number(Column.network + 1),
            rxPackets: number(Column.network + 2),
            txPackets: number(Column.network + 3),
            rxDropped: number(Column.network + 4),
            txDropped: number(Column.network + 5),
          },
      diskAllocatedBytes: known(allocated?.[index]),
      ...(vcpuTimes > 0 && {
        vcpuTimesNs: Array.from(integers.subarray(vcpuTimesAt, vcpuTimesAt + vcpuTimes)),
      }),
    };
  });
}

/** vCPUs of those that have a process, and how many run. */
export function runningOf(sample: NativeUsageSample): {
  readonly vcpus: number;
  readonly instances: number;
} {
  const numbers = new Float64Array(sample.figures);
  let vcpus = 0;
  let instances = 0;
  for (let row = 0; row < sample.uuids.length * Column.count; row += Column.count) {
    if ((numbers[row + Column.id] ?? -1) >= 0) vcpus += numbers[row + Column.vcpus] ?? 0;
    if (powerState(numbers[row + Column.state] ?? 0) === 'running') instances += 1;
  }
  return { vcpus, instances };
}

async function allocatedBytes(
  instancesPath: string,
  uuids: readonly string[],
  context: CallContext,
): Promise<number[]> {
  const names = [...DISK_NAMES, ...OTHER_DISK_FILES];
  const paths = uuids.flatMap((uuid) => names.map((name) => join(instancesPath, uuid, name)));
  const status = await callNative((addon, id) => addon.statFiles(paths, id), context);
  return uuids.map((_uuid, index) => {
    let sum = Number.NaN;
    for (let at = index * names.length; at < (index + 1) * names.length; at += 1) {
      const bytes = status[at * 4] ?? Number.NaN;
      if (!Number.isNaN(bytes)) sum = (Number.isNaN(sum) ? 0 : sum) + bytes;
    }
    return sum;
  });
}
