// The figures of one running instance: Nova's nova/objects/diagnostics.py, with units in the names.
import type { PowerState } from './model.js';

/** What the hypervisor does not tell is undefined. Counters begin with the instance's start. */
export interface Diagnostics {
  readonly state: PowerState;
  /** Nova's name of the driver: `libvirt`. */
  readonly driver: string;
  /** `kvm`, `qemu` ... */
  readonly hypervisor: string;
  /** `linux`. */
  readonly hypervisorOs: string;
  /** Seconds since the instance was created; Nova's counts from its launch. */
  readonly uptimeSeconds: number | undefined;
  readonly configDrive: boolean;
  readonly numCpus: number;
  readonly numNics: number;
  readonly numDisks: number;
  readonly cpuDetails: readonly CpuDiagnostics[];
  readonly nicDetails: readonly NicDiagnostics[];
  readonly diskDetails: readonly DiskDiagnostics[];
  readonly memoryDetails: MemoryDiagnostics;
}

export interface CpuDiagnostics {
  readonly id: number;
  readonly timeNs: bigint | undefined;
}

export interface NicDiagnostics {
  readonly macAddress: string | undefined;
  readonly rxOctets: bigint | undefined;
  readonly rxErrors: bigint | undefined;
  readonly rxDrop: bigint | undefined;
  readonly rxPackets: bigint | undefined;
  readonly txOctets: bigint | undefined;
  readonly txErrors: bigint | undefined;
  readonly txDrop: bigint | undefined;
  readonly txPackets: bigint | undefined;
}

export interface DiskDiagnostics {
  /** The device as the definition names it: `vda`. */
  readonly name: string | undefined;
  readonly readBytes: bigint | undefined;
  readonly readRequests: bigint | undefined;
  readonly writeBytes: bigint | undefined;
  readonly writeRequests: bigint | undefined;
  readonly errorsCount: bigint | undefined;
}

export interface MemoryDiagnostics {
  readonly maximumMib: number | undefined;
  /** What the balloon leaves to the guest. */
  readonly usedMib: number | undefined;
}
