// The part of the driver that gives instances another flavor: checks the call, hands it on.
import type { CallOptions, FinishMigrationOptions, PowerOffOptions } from '../driver/compute-driver.js';
import { checkInstanceIdentity } from '../driver/identity.js';
import type { Flavor, Instance } from '../driver/model.js';
import { DeviceCalls } from './device-calls.js';
import { type LiveResizeHost, liveResize } from './live-resize.js';
import { Resize, type ResizeHost } from './resize.js';

/** The part of {@link LibvirtDriver} that resizes. */
export abstract class ResizeCalls extends DeviceCalls {
  protected abstract resizeHost(): ResizeHost & LiveResizeHost;

  override async migrateDiskAndPowerOff(
    instance: Instance,
    flavor: Flavor,
    options: PowerOffOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'migrateDiskAndPowerOff');
    await new Resize(this.resizeHost()).begin(instance, flavor, options);
  }

  override async finishMigration(instance: Instance, options: FinishMigrationOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'finishMigration');
    await new Resize(this.resizeHost()).finish(instance, options);
  }

  override async confirmMigration(instance: Instance, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'confirmMigration');
    await new Resize(this.resizeHost()).confirm(instance, options);
  }

  override async finishRevertMigration(
    instance: Instance,
    options: FinishMigrationOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'finishRevertMigration');
    await new Resize(this.resizeHost()).revert(instance, options);
  }

  override async liveResize(instance: Instance, flavor: Flavor, options: CallOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'liveResize');
    await liveResize(this.resizeHost(), instance, flavor, options);
  }
}
