// Where on its host an instance was put: CPUs of its own, NUMA cells, large pages.

/** Chosen by the claim, written into the definition. CPUs and cells have the host's numbers. */
export interface InstancePlacement {
  /** One host CPU for each dedicated vCPU, in the order of the vCPUs. */
  readonly dedicated: readonly number[];
  /** Host CPUs that shared vCPUs may run on. Default: any. */
  readonly shared?: readonly number[] | undefined;
  /** Host CPUs of the emulator's threads, where the flavor isolates them. */
  readonly emulator?: readonly number[] | undefined;
  /** Host NUMA cell of each guest cell. */
  readonly nodes: readonly number[];
  /** Size of the pages that its memory was given; undefined for ordinary ones. */
  readonly pageSizeKib?: number | undefined;
}
