// The part of the driver that makes another system or an image of an instance: checks the call, hands it on.
import type {
  CallOptions,
  RebuildOptions,
  RescueOptions,
  SnapshotOptions,
  SpawnResult,
  UnrescueOptions,
} from '../driver/compute-driver.js';
import { checkInstanceIdentity } from '../driver/identity.js';
import type { ImageMeta, Instance } from '../driver/model.js';
import type { SnapshotResult, SnapshotTarget } from '../driver/snapshot.js';
import { type RebuildHost, rebuild, settleRebuild } from './rebuild.js';
import type { Rescue } from './rescue.js';
import { ResizeCalls } from './resize-calls.js';
import type { Snapshots } from './snapshots.js';

export interface ChangeHost {
  readonly rescue: Rescue;
  readonly rebuild: RebuildHost;
  readonly snapshots: Snapshots;
}

/** The part of {@link LibvirtDriver} that rescues, rebuilds and takes snapshots. */
export abstract class ChangeCalls extends ResizeCalls {
  protected abstract changeHost(): ChangeHost;

  override async rescue(instance: Instance, image: ImageMeta, options: RescueOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'rescue');
    await this.changeHost().rescue.rescue(instance, image, options);
  }

  override async unrescue(instance: Instance, options: UnrescueOptions = {}): Promise<void> {
    checkInstanceIdentity(instance, 'unrescue');
    await this.changeHost().rescue.unrescue(instance, options);
  }

  override async rebuild(
    instance: Instance,
    image: ImageMeta,
    options: RebuildOptions = {},
  ): Promise<SpawnResult> {
    checkInstanceIdentity(instance, 'rebuild');
    return await rebuild(this.changeHost().rebuild, { ...instance, image }, options);
  }

  override async settleRebuild(
    instance: Instance,
    outcome: 'old' | 'new',
    options: CallOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'settleRebuild');
    await settleRebuild(this.changeHost().rebuild, instance, outcome, options);
  }

  override async snapshot(
    instance: Instance,
    target: SnapshotTarget,
    options: SnapshotOptions = {},
  ): Promise<SnapshotResult> {
    checkInstanceIdentity(instance, 'snapshot');
    return await this.changeHost().snapshots.take(instance, target, options);
  }

  override async undoSnapshot(
    instance: Instance,
    target: SnapshotTarget,
    options: CallOptions = {},
  ): Promise<void> {
    checkInstanceIdentity(instance, 'undoSnapshot');
    await this.changeHost().snapshots.undo(instance, target, options);
  }
}
