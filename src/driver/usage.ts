// What the instances of a host use: their counters, read for all of them at once.
import type { PowerState } from './model.js';

/** Counters of one instance at one moment; a figure that has no source is undefined. Counters are since the guest's start. */
export interface InstanceUsage {
  readonly uuid: string;
  readonly name: string;
  readonly powerState: PowerState;
  /** When it was read. */
  readonly timestampMs: number;
  readonly vcpus: number;
  readonly cpuTimeNs: bigint;
  /** What the balloon gives it now. */
  readonly memoryMb: number;
  readonly maxMemoryMb: number;
  /** Of the emulator process. */
  readonly rssBytes: number | undefined;
  /** Sum over its disks. */
  readonly disk:
    | {
        readonly readBytes: number;
        readonly writeBytes: number;
        readonly readRequests: number;
        readonly writeRequests: number;
      }
    | undefined;
  /** The guest's view: rx is what it received. */
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
  /** Of its files on the host. */
  readonly diskAllocatedBytes: number | undefined;
}

export type UsageGroup = 'cpu' | 'memory' | 'disk' | 'network' | 'vcpu';
