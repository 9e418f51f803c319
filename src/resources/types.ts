// What the accounting of a node's resources tells: one resource as a claim sees it, and the whole node's report.

/** One resource as a claim sees it. */
export interface ResourceUsage {
  readonly total: number;
  readonly reserved: number;
  readonly allocationRatio: number;
  /** (total - reserved) * allocationRatio, rounded down to a whole unit, never below 0. */
  readonly limit: number;
  /** Sum of the claims. */
  readonly used: number;
}

export interface NodeReport {
  readonly hypervisorType: string;
  readonly hypervisorVersion: number;
  readonly hypervisorHostname: string;
  readonly architecture: string;
  readonly cpuModel: string;
  readonly vcpus: ResourceUsage;
  readonly memoryMb: ResourceUsage;
  readonly diskGb: ResourceUsage;
  /** Host CPUs for instances that ask for their own, which `vcpus` does not count; undefined where there are none. */
  readonly pcpus?: ResourceUsage | undefined;
  /** As the host counts them, whoever uses them. */
  readonly memoryMbUsedByHost: number;
  readonly diskGbUsedByHost: number;
  readonly diskAvailableLeastGb: number;
  readonly instances: number;
  readonly runningInstances: number;
}
