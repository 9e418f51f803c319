// What a FakeDriver says its domains use and its host has: the same figures at each question, save the time.
import type { NodeInventory } from '../driver/inventory.js';
import type { InstanceUsage, UsageGroup } from '../driver/usage.js';
import type { FakeDomain, FakeHost } from './fake-hypervisor.js';

export function usageOf(
  { instance, state }: FakeDomain,
  groups: readonly UsageGroup[] = ['cpu', 'memory'],
): InstanceUsage {
  const { memoryMb, vcpus } = instance.flavor;
  const runs = state === 'running' || state === 'paused';
  return {
    uuid: instance.uuid,
    name: instance.name,
    powerState: state,
    timestampMs: Date.now(),
    vcpus,
    cpuTimeNs: 0n,
    memoryMb: runs ? memoryMb : 0,
    maxMemoryMb: memoryMb,
    rssBytes: runs ? memoryMb * 2 ** 20 : undefined,
    disk:
      runs && groups.includes('disk')
        ? { readBytes: 0, writeBytes: 0, readRequests: 0, writeRequests: 0 }
        : undefined,
    network:
      runs && instance.vifs.length > 0 && groups.includes('network')
        ? { rxBytes: 0, txBytes: 0, rxPackets: 0, txPackets: 0, rxDropped: 0, txDropped: 0 }
        : undefined,
    diskAllocatedBytes: groups.includes('disk') ? 0 : undefined,
    ...(runs && groups.includes('vcpu') && { vcpuTimesNs: Array.from({ length: vcpus }, () => 0n) }),
  };
}

/** One NUMA cell, without large pages. */
export function inventoryOf(host: FakeHost): NodeInventory {
  const cpus = Array.from({ length: host.vcpus }, (_, cpu) => cpu);
  return {
    hypervisorType: 'fake',
    hypervisorVersion: 1_000_000,
    libvirtVersion: undefined,
    hypervisorHostname: host.hostname,
    architecture: host.architecture,
    cpu: {
      model: host.cpuModel,
      vendor: 'fake',
      features: [],
      sockets: 1,
      cores: host.vcpus,
      threads: 1,
      total: host.vcpus,
    },
    memoryMb: host.memoryMb,
    numaCells: [{ id: 0, memoryMb: host.memoryMb, cpus, siblings: cpus.map((cpu) => [cpu]), hugepages: [] }],
    pciDevices: [],
    guests: [{ architecture: host.architecture, domainType: 'qemu', machines: ['fake'] }],
    traits: ['COMPUTE_IMAGE_TYPE_QCOW2', 'COMPUTE_IMAGE_TYPE_RAW'],
  };
}
