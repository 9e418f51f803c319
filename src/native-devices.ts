// The part of the addon's seam that is about the devices of a domain.
import type { CallId } from './native-image.js';

export interface NativeDomainDevices {
  attachDevice(xml: string, flags: number, callId: CallId): Promise<void>;
  /** Of a running domain it only asks: the guest has let go at the event `device-removed`. */
  detachDeviceAlias(alias: string, flags: number, callId: CallId): Promise<void>;
  blockResize(disk: string, bytes: number, callId: CallId): Promise<void>;
  /** One event `block-threshold` when the guest writes past that byte of the disk's file; 0: none. */
  setBlockThreshold(disk: string, bytes: number, callId: CallId): Promise<void>;
  /** Bytes that the guest sees. */
  blockCapacity(disk: string, callId: CallId): Promise<number>;
  /** Returns when the copy has begun. */
  blockCopy(disk: string, xml: string, flags: number, callId: CallId): Promise<void>;
  blockJobAbort(disk: string, flags: number, callId: CallId): Promise<void>;
  /** Undefined where there is none. */
  blockJobInfo(
    disk: string,
    callId: CallId,
  ): Promise<{ readonly type: number; readonly current: number; readonly end: number } | undefined>;
}

export type NativeDeviceEvent =
  | {
      readonly type: 'device-removed' | 'device-removal-failed';
      readonly uuid: string;
      readonly name: string;
      readonly alias: string;
      readonly timestamp: number;
    }
  | {
      readonly type: 'block-job';
      readonly uuid: string;
      readonly name: string;
      readonly disk: string;
      /** virDomainBlockJobType. */
      readonly job: number;
      /** virConnectDomainEventBlockJobStatus. */
      readonly status: number;
      readonly timestamp: number;
    };
