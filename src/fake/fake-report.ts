// What a FakeDriver says of itself, its host and its domains.
import type { DriverCapabilities } from '../driver/compute-driver.js';
import type { Diagnostics } from '../driver/diagnostics.js';
import type { AvailableResource, Instance, InstanceInfo } from '../driver/model.js';
import type { FakeDomain, FakeHypervisor } from './fake-hypervisor.js';

/** Those of the libvirt driver, without what only a real guest has: an agent, a live console, a screen. */
export const FAKE_CAPABILITIES: DriverCapabilities = {
  pause: true,
  softReboot: true,
  consoleOutput: true,
  suspend: true,
  rescue: false,
  rebuild: false,
  snapshot: false,
  resize: false,
  liveMigration: false,
  attachVolume: true,
  extendVolume: true,
  swapVolume: true,
  attachInterface: true,
  diagnostics: true,
  guestAgent: false,
  crashDump: true,
  resumeOnHostBoot: true,
  remoteConsole: false,
  consoleStream: false,
  imageCache: true,
  usage: true,
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

export function diagnosticsOf({ instance, state }: FakeDomain): Diagnostics {
  const { flavor, vifs, volumes = [], configDrive, createdAt } = instance;
  const diskDetails = [
    'vda',
    ...(flavor.ephemeralGb > 0 ? ['vdb'] : []),
    ...(flavor.swapMb > 0 ? ['vdc'] : []),
    ...(configDrive ? ['sda'] : []),
    ...volumes.map(({ device }) => device),
  ];
  return {
    state,
    driver: 'fake',
    hypervisor: 'fake',
    hypervisorOs: 'linux',
    uptimeSeconds: Math.max(0, Math.floor((Date.now() - Date.parse(createdAt)) / 1000)),
    configDrive: configDrive !== undefined,
    numCpus: flavor.vcpus,
    numNics: vifs.length,
    numDisks: diskDetails.length,
    cpuDetails: Array.from({ length: flavor.vcpus }, (_, id) => ({ id, timeNs: 0n })),
    nicDetails: vifs.map(({ mac }) => ({
      macAddress: mac,
      rxOctets: 0n,
      rxErrors: 0n,
      rxDrop: 0n,
      rxPackets: 0n,
      txOctets: 0n,
      txErrors: 0n,
      txDrop: 0n,
      txPackets: 0n,
    })),
    diskDetails: diskDetails.map((name) => ({
      name,
      readBytes: 0n,
      readRequests: 0n,
      writeBytes: 0n,
      writeRequests: 0n,
      errorsCount: 0n,
    })),
    memoryDetails: { maximumMib: flavor.memoryMb, usedMib: flavor.memoryMb },
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
