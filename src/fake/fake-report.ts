// What a FakeDriver says of itself, its host and its domains.
import type { DriverCapabilities } from '../driver/compute-driver.js';
import type { AvailableResource, Instance, InstanceInfo } from '../driver/model.js';
import type { FakeDomain, FakeHypervisor } from './fake-hypervisor.js';

/** Those of the libvirt driver. */
export const FAKE_CAPABILITIES: DriverCapabilities = {
  pause: true,
  softReboot: true,
  consoleOutput: true,
  suspend: false,
  rescue: false,
  rebuild: false,
  snapshot: false,
  resize: false,
  liveMigration: false,
  attachVolume: true,
  extendVolume: true,
  swapVolume: true,
  attachInterface: true,
  diagnostics: false,
  guestAgent: false,
  crashDump: false,
  resumeOnHostBoot: false,
  remoteConsole: false,
  imageCache: true,
};

export function infoOf({ instance, state, domainId }: FakeDomain): InstanceInfo {
  const memoryKib = instance.flavor.memoryMb * 1024;
  return {
    uuid: instance.uuid,
    name: instance.name,
    powerState: state,
    domainId,
    maxMemoryKib: memoryKib,
    memoryKib,
    vcpus: instance.flavor.vcpus,
    cpuTimeNs: 0n,
  };
}

export function availableResource({ host, domains }: FakeHypervisor): AvailableResource {
  const all = [...domains.values()];
  const running = all.filter(({ state }) => state === 'running' || state === 'paused');
  const sum = (from: readonly FakeDomain[], pick: (instance: Instance) => number): number =>
    from.reduce((total, { instance }) => total + pick(instance), 0);
  const localGbUsed = sum(all, ({ flavor }) => flavor.rootGb + flavor.ephemeralGb + flavor.swapMb / 1024);
  return {
    hypervisorType: 'fake',
    hypervisorVersion: 1_000_000,
    hypervisorHostname: host.hostname,
    architecture: host.architecture,
    cpuModel: host.cpuModel,
    vcpus: host.vcpus,
    cpuTopology: { sockets: 1, cores: host.vcpus, threads: 1 },
    numaCells: 1,
    memoryMb: host.memoryMb,
    memoryMbUsed: sum(running, ({ flavor }) => flavor.memoryMb),
    localGb: host.localGb,
    localGbUsed: Math.ceil(localGbUsed),
    diskAvailableLeastGb: Math.floor(host.localGb - localGbUsed),
    vcpusUsed: sum(running, ({ flavor }) => flavor.vcpus),
    runningInstances: running.length,
  };
}
