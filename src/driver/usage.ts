// What the instances of a host use: their counters, read for all of them at once.
import type { PowerState } from './model.js';

/**
 * Counters of one instance at one moment; a figure that has no source is undefined: those of a stopped instance, of a
 * group that was not asked for, of a hypervisor process that does not answer. Counters are since the guest's start.
 */
export interface InstanceUsage {
  readonly uuid: string;
  readonly name: string;
  readonly powerState: PowerState;
  /** When it was read, in milliseconds since the epoch. */
  readonly timestampMs: number;
  readonly vcpus: number;
  /** Of the whole hypervisor process; 0 of a stopped one. */
  readonly cpuTimeNs: bigint;
  /** What the balloon gives it now; 0 of a stopped one. */
  readonly memoryMb: number;
  readonly maxMemoryMb: number;
  /** Of the emulator process. */
  readonly rssBytes: number | undefined;
  /** Group `disk`: sum over its disks. */
  readonly disk:
    | {
        readonly readBytes: number;
        readonly writeBytes: number;
        readonly readRequests: number;
        readonly writeRequests: number;
      }
    | undefined;
  /** Group `network`: the guest's view, rx is what it received. */
  readonly network:
    | {
        readonly rxBytes: number;
        readonly txBytes: number;
        readonly rxPackets: number;
        readonly txPackets: number;
        readonly rxDropped: number;
        readonly txDropped: number;
      }
    | undefined;
  /** Group `disk`: of its files on the host, also of a stopped one. */
  readonly diskAllocatedBytes: number | undefined;
  /** Group `vcpu`: CPU time of each vCPU, by its number, in steps of 10 ms; a single one where one thread emulates them all. */
  readonly vcpuTimesNs?: readonly bigint[] | undefined;
}

/** `cpu` and `memory` are told always: they cost nothing more. `disk` is the dear one, as each hypervisor process is asked. */
export type UsageGroup = 'cpu' | 'memory' | 'disk' | 'network' | 'vcpu';
