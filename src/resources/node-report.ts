// What a node reports: the driver's view of the host beside the claims.
import type { AvailableResource } from '../driver/model.js';
import type { ResourceTracker } from './tracker.js';
import type { NodeReport } from './types.js';

/** What the claims are counted against. */
export function totalsOf(resource: AvailableResource): { vcpus: number; memoryMb: number; diskGb: number } {
  return { vcpus: resource.vcpus, memoryMb: resource.memoryMb, diskGb: resource.localGb };
}

export function nodeReport(
  resource: AvailableResource,
  tracker: ResourceTracker,
  instances: number,
): NodeReport {
  const { vcpus, memoryMb, diskGb } = tracker.usage();
  const pcpus = tracker.pcpus();
  return {
    hypervisorType: resource.hypervisorType,
    hypervisorVersion: resource.hypervisorVersion,
    hypervisorHostname: resource.hypervisorHostname,
    architecture: resource.architecture,
    cpuModel: resource.cpuModel,
    vcpus,
    memoryMb,
    diskGb,
    ...(pcpus && { pcpus }),
    memoryMbUsedByHost: resource.memoryMbUsed,
    diskGbUsedByHost: resource.localGbUsed,
    diskAvailableLeastGb: resource.diskAvailableLeastGb,
    instances,
    runningInstances: resource.runningInstances,
  };
}
