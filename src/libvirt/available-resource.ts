// What the host has and what of it is used: the driver's part of the node report.
import type { AvailableResource } from '../driver/model.js';
import { callNative } from '../native.js';
import type { DiskGrowth } from './disk-growth.js';
import { readHostMemory } from './host-memory.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { runningOf, sampleUsage } from './usage.js';

/** What does not change while the host is up; read from libvirt's capabilities once. */
export interface HostFactsOfLibvirt {
  readonly hypervisorVersion: number;
  readonly hypervisorHostname: string;
  readonly architecture: string;
  readonly cpuModel: string;
  readonly vcpus: number;
  readonly cpuTopology: { readonly sockets: number; readonly cores: number; readonly threads: number };
  readonly numaCells: number;
}

const GIB = 1024 ** 3;

export async function readHostFacts(
  hypervisor: Hypervisor,
  context: CallContext,
): Promise<HostFactsOfLibvirt> {
  const [versions, hostname, node, xml] = await Promise.all([
    hypervisor.call(context, (connection, id) => connection.versions(id)),
    hypervisor.call(context, (connection, id) => connection.hostname(id)),
    hypervisor.call(context, (connection, id) => connection.nodeInfo(id)),
    hypervisor.call(context, (connection, id) => connection.capabilities(id)),
  ]);
  const cpu = hostCpu(xml);
  return {
    hypervisorVersion: versions.hypervisor,
    hypervisorHostname: hostname,
    architecture: cpu.arch ?? node.model,
    cpuModel: cpu.model ?? node.model,
    vcpus: node.cpus,
    cpuTopology: { sockets: node.sockets, cores: node.cores, threads: node.threads },
    numaCells: node.numaNodes,
  };
}

/** Two words of libvirt's own document: a parser of XML would take 8 MB of memory for them. */
export function hostCpu(capabilities: string): { readonly arch?: string; readonly model?: string } {
  const cpu = /<host>.*?<cpu>(.*?)<\/cpu>/s.exec(capabilities)?.[1] ?? '';
  return {
    ...cpu.match(/<arch>(?<arch>[^<]+)<\/arch>/)?.groups,
    ...cpu.match(/<model>(?<model>[^<]+)<\/model>/)?.groups,
  };
}

export interface ReportHost {
  readonly hypervisor: Hypervisor;
  readonly instancesPath: string;
  readonly growth: DiskGrowth;
  readonly facts: HostFactsOfLibvirt;
  readonly virtType: 'kvm' | 'qemu';
}

/** Four native calls, whatever the number of instances. */
export async function availableResource(host: ReportHost, context: CallContext): Promise<AvailableResource> {
  const [memory, disk, { running, growthBytes }] = await Promise.all([
    readHostMemory(),
    callNative((addon, id) => addon.statFs(host.instancesPath, id), context),
    instancesTogether(host, context),
  ]);
  return {
    hypervisorType: host.virtType === 'kvm' ? 'KVM' : 'QEMU',
    ...host.facts,
    memoryMb: memory.totalMb,
    memoryMbUsed: memory.usedMb,
    localGb: Math.floor(disk.totalBytes / GIB),
    localGbUsed: Math.ceil((disk.totalBytes - disk.freeBytes) / GIB),
    diskAvailableLeastGb: Math.floor((disk.availableBytes - growthBytes) / GIB),
    vcpusUsed: running.vcpus,
    runningInstances: running.instances,
  };
}

async function instancesTogether(host: ReportHost, context: CallContext): Promise<InstancesTogether> {
  const sample = await sampleUsage(host.hypervisor, [], context);
  return { running: runningOf(sample), growthBytes: await host.growth.bytes(sample.uuids, context) };
}

interface InstancesTogether {
  readonly running: { readonly vcpus: number; readonly instances: number };
  /** What their disks may still grow by. */
  readonly growthBytes: number;
}
