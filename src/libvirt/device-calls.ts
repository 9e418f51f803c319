// The part of the driver that attaches and detaches: checks the call, hands it to volumes and interfaces.
import type { CallOptions } from '../driver/compute-driver.js';
import { checkInstanceIdentity } from '../driver/identity.js';
import type { Instance, Vif } from '../driver/model.js';
import type { AttachedVolume, VolumeConnection } from '../driver/volume.js';
import { GuestQuestions } from './guest-questions.js';
import type { Interfaces } from './interfaces.js';
import type { Volumes } from './volumes.js';

/** The part of {@link LibvirtDriver} that changes an instance's devices. */
export abstract class DeviceCalls extends GuestQuestions {
  protected abstract deviceHost(): { readonly volumes: Volumes; readonly interfaces: Interfaces };

  override async attachVolume(
    instance: Instance,
    volume: VolumeConnection,
    device: string | undefined,
    options: CallOptions = {},
  ): Promise<AttachedVolume> {
    checkInstanceIdentity(instance, 'attachVolume');
    return await this.deviceHost().volumes.attach(instance, volume, device, options);
  }

  override async detachVolume(
    instance: Instance,
    volume: VolumeConnection,
    options: CallOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'detachVolume');
    await this.deviceHost().volumes.detach(instance, volume, options);
  }

  override async extendVolume(
    instance: Instance,
    volume: VolumeConnection,
    sizeBytes: number,
    options: CallOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'extendVolume');
    await this.deviceHost().volumes.extend(instance, volume, sizeBytes, options);
  }

  override async swapVolume(
    instance: Instance,
    from: VolumeConnection,
    to: VolumeConnection,
    options: CallOptions = {},
  ): Promise<AttachedVolume> {
    checkInstanceIdentity(instance, 'swapVolume');
    return await this.deviceHost().volumes.swap(instance, from, to, options);
  }

  override async attachInterface(instance: Instance, vif: Vif, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'attachInterface');
    await this.deviceHost().interfaces.attach(instance, vif, options);
  }

  override async plugVifs(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'plugVifs');
    await this.deviceHost().interfaces.plug(instance, options);
  }

  override async unplugVifs(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'unplugVifs');
    await this.deviceHost().interfaces.unplug(instance, options);
  }

  override async detachInterface(instance: Instance, vif: Vif, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'detachInterface');
    await this.deviceHost().interfaces.detach(instance, vif, options);
  }
}
