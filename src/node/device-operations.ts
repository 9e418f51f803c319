// What a node does with the volumes and interfaces of an instance.
import { canonicalUuid } from '../driver/identity.js';
import type { Vif } from '../driver/model.js';
import type { AttachedVolume, VolumeConnection } from '../driver/volume.js';
import { ChangeOperations } from './change-operations.js';
import {
  attachInterface,
  attachVolume,
  detachInterface,
  detachVolume,
  extendVolume,
  swapVolume,
} from './devices.js';
import type { AttachVolumeOptions, NetworkRequest, OperationOptions } from './types.js';

/** The part of {@link ComputeNode} that changes an instance's devices. */
export abstract class DeviceOperations extends ChangeOperations {
  /**
   * Attaches a volume, running or at rest, and returns it with its device name. Attached already is success; on failure
   * nothing is changed. Rejects with `DEVICE_IN_USE` for a name, or a volume of another instance here.
   */
  async attachVolume(
    uuid: string,
    volume: VolumeConnection,
    options: AttachVolumeOptions = {},
  ): Promise<AttachedVolume> {
    return await attachVolume(this.context, canonicalUuid(uuid, 'attachVolume'), volume, options);
  }

  /**
   * By its device name (`DEVICE_NOT_FOUND` where there is none) or its connection (detached already is success). Rejects
   * with `DETACH_FAILED` where the guest does not let go of it: it then stays attached.
   */
  async detachVolume(
    uuid: string,
    volume: VolumeConnection | string,
    options: OperationOptions = {},
  ): Promise<void> {
    await detachVolume(this.context, canonicalUuid(uuid, 'detachVolume'), volume, options);
  }

  /** Makes a file larger, and shows the guest what other volumes have become. Rejects with `DEVICE_NOT_FOUND`. */
  async extendVolume(
    uuid: string,
    volume: VolumeConnection | string,
    sizeBytes: number,
    options: OperationOptions = {},
  ): Promise<void> {
    await extendVolume(this.context, canonicalUuid(uuid, 'extendVolume'), volume, sizeBytes, options);
  }

  /** Copies a volume while the guest runs and goes on with the copy. No deadline by default. */
  async swapVolume(
    uuid: string,
    volume: VolumeConnection | string,
    to: VolumeConnection,
    options: OperationOptions = {},
  ): Promise<AttachedVolume> {
    return await swapVolume(this.context, canonicalUuid(uuid, 'swapVolume'), volume, to, options);
  }

  /** What the request leaves open is chosen. A port that it has already is success. */
  async attachInterface(
    uuid: string,
    request: NetworkRequest = {},
    options: OperationOptions = {},
  ): Promise<Vif> {
    return await attachInterface(this.context, canonicalUuid(uuid, 'attachInterface'), request, options);
  }

  /** By the id of its port or its address. Rejects with `DEVICE_NOT_FOUND`, `DETACH_FAILED`. */
  async detachInterface(uuid: string, port: string, options: OperationOptions = {}): Promise<void> {
    await detachInterface(this.context, canonicalUuid(uuid, 'detachInterface'), port, options);
  }
}
