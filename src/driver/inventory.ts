// What a host has and keeps while it is up: CPUs, NUMA cells, devices, machine types, traits.

export interface NodeInventory {
  readonly hypervisorType: string;
  readonly hypervisorVersion: number;
  readonly libvirtVersion: number | undefined;
  readonly hypervisorHostname: string;
  readonly architecture: string;
  readonly cpu: {
    readonly model: string;
    readonly vendor: string;
    readonly features: readonly string[];
    readonly sockets: number;
    readonly cores: number;
    readonly threads: number;
    readonly total: number;
  };
  readonly memoryMb: number;
  readonly numaCells: readonly {
    readonly id: number;
    readonly memoryMb: number;
    readonly cpus: readonly number[];
    readonly siblings: readonly (readonly number[])[];
    readonly hugepages: readonly {
      readonly sizeKib: number;
      readonly total: number;
      readonly free: number;
    }[];
  }[];
  readonly pciDevices: readonly {
    readonly address: string;
    readonly vendorId: string;
    readonly productId: string;
    readonly class: string;
    readonly numaNode: number | undefined;
    readonly driver: string | undefined;
    readonly iommuGroup: number | undefined;
  }[];
  readonly guests: readonly {
    readonly architecture: string;
    readonly domainType: 'kvm' | 'qemu';
    readonly machines: readonly string[];
  }[];
  /** Names of OpenStack's os-traits: HW_CPU_X86_AVX2, COMPUTE_IMAGE_TYPE_QCOW2 ... as Nova derives them. */
  readonly traits: readonly string[];
}
