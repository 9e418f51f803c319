// What the host has and what of it is used: the driver's part of the node report.
import type { AvailableResource } from '../driver/model.js';
import { callNative, type NativeDomainRecord } from '../native.js';
import type { Domains } from './domains.js';
import { readHostMemory } from './host-memory.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { DISK_NAMES } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { powerState } from './states.js';

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
  readonly domains: Domains;
  readonly instancesPath: string;
  readonly facts: HostFactsOfLibvirt;
  readonly virtType: 'kvm' | 'qemu';
}

export async function availableResource(
  host: ReportHost,
  ours: readonly NativeDomainRecord[],
  context: CallContext,
): Promise<AvailableResource> {
  const [memory, disk, usages] = await Promise.all([
    readHostMemory(),
    callNative((addon, id) => addon.statFs(host.instancesPath, id), context),
    Promise.all(ours.map((domain) => usage(host, domain, context))),
  ]);
  const growth = usages.reduce((sum, one) => sum + one.growthBytes, 0);
  return {
    hypervisorType: host.virtType === 'kvm' ? 'KVM' : 'QEMU',
    ...host.facts,
    memoryMb: memory.totalMb,
    memoryMbUsed: memory.usedMb,
    localGb: Math.floor(disk.totalBytes / GIB),
    localGbUsed: Math.ceil((disk.totalBytes - disk.freeBytes) / GIB),
    diskAvailableLeastGb: Math.floor((disk.availableBytes - growth) / GIB),
    vcpusUsed: usages.reduce((sum, one) => sum + one.vcpus, 0),
    runningInstances: ours.filter((domain) => powerState(domain.state) === 'running').length,
  };
}

interface Usage {
  /** Of a domain that has a process. */
  readonly vcpus: number;
  /** What its disks may still grow by. */
  readonly growthBytes: number;
}

async function usage(host: ReportHost, record: NativeDomainRecord, context: CallContext): Promise<Usage> {
  const [vcpus, growthBytes] = await Promise.all([
    record.id < 0 ? 0 : vcpusOf(host, record.uuid, context),
    growthOf(new InstanceFiles(host.instancesPath, record.uuid), context),
  ]);
  return { vcpus, growthBytes };
}

async function growthOf(files: InstanceFiles, context: CallContext): Promise<number> {
  const disks = (await files.readDisks(context)) ?? {};
  const growths = DISK_NAMES.map(async (name) => {
    const disk = disks[name];
    return disk ? Math.max(0, disk.virtualSizeBytes - (await files.allocatedBytes(name, context))) : 0;
  });
  return (await Promise.all(growths)).reduce((sum, bytes) => sum + bytes, 0);
}

async function vcpusOf(host: ReportHost, uuid: string, context: CallContext): Promise<number> {
  // It may end between the list and this question.
  const domain = await host.domains.find(uuid, context);
  return domain ? (await host.domains.info(domain, context)).vcpus : 0;
}
