// What a node makes of an instance that it has: another system, another size, an image, another host's.
import { canonicalUuid } from '../driver/identity.js';
import type { Flavor, ImageMeta } from '../driver/model.js';
import type { SnapshotResult, SnapshotTarget } from '../driver/snapshot.js';
import { parseFlavor } from './launch-request.js';
import { liveResizeInstance, parseLiveResize } from './live-resize.js';
import { migrateInstance } from './migrate.js';
import type { NodeContext } from './node-context.js';
import { rebuildInstance } from './rebuild.js';
import { rescueInstance, unrescueInstance } from './rescue.js';
import { confirmResize, resizeInstance, revertResize } from './resize.js';
import { offloadInstance, shelveInstance, unshelveInstance } from './shelve.js';
import { discardSnapshot, snapshotInstance } from './snapshot.js';
import type {
  LaunchRequest,
  LiveResizeRequest,
  OperationOptions,
  RebuildNodeOptions,
  RebuildRequest,
  RescueNodeOptions,
  ResizeOptions,
  ShelveOptions,
  SnapshotNodeOptions,
  UnshelveOptions,
} from './types.js';

/** The part of {@link ComputeNode} that changes what an instance is. */
export abstract class ChangeOperations {
  protected readonly context: NodeContext;

  constructor(context: NodeContext) {
    this.context = context;
  }

  /**
   * Boots it from a disk made of `image`, its own disks behind that one, until {@link unrescue}. Rescued with that image
   * already is success. It is as it was where this fails or is aborted. Rejects with `INVALID_STATE` where it is paused,
   * suspended or rescued with another image, `IMAGE_*`, `START_FAILED`.
   */
  async rescue(uuid: string, options: RescueNodeOptions = {}): Promise<void> {
    await rescueInstance(this.context, canonicalUuid(uuid, 'rescue'), options);
  }

  /** Starts it from its own disk again; the rescue disk goes. Not rescued is success. */
  async unrescue(uuid: string, options: OperationOptions = {}): Promise<void> {
    await unrescueInstance(this.context, canonicalUuid(uuid, 'unrescue'), options);
  }

  /**
   * New disks from that image; uuid, id, flavor, interfaces and volumes stay. It runs then if it ran before. It is as it
   * was where this fails or is aborted before the new disks are complete; after that it is rebuilt, whatever comes. Rejects
   * with `INVALID_STATE` where it is paused, suspended or rescued, `FLAVOR_*`, `CLAIM_REFUSED`, `IMAGE_*`.
   */
  async rebuild(uuid: string, request: RebuildRequest, options: RebuildNodeOptions = {}): Promise<void> {
    await rebuildInstance(this.context, canonicalUuid(uuid, 'rebuild'), request, options);
  }

  /**
   * Stops it and stores its disk as an image, which is returned. It keeps what it has on this host, and its claim, until
   * {@link shelveOffload}. Shelved already is success. It runs on where this fails or is aborted. Rejects with
   * `UNSUPPORTED` where the capability `snapshot` is false, `INVALID_STATE` where it is paused, suspended or rescued.
   */
  async shelve(uuid: string, options: ShelveOptions = {}): Promise<ImageMeta> {
    return await shelveInstance(this.context, canonicalUuid(uuid, 'shelve'), options);
  }

  /** Removes the domain and the disks of a shelved instance from this host, and frees its claim; the node goes on knowing it. */
  async shelveOffload(uuid: string, options: OperationOptions = {}): Promise<void> {
    await offloadInstance(this.context, canonicalUuid(uuid, 'shelveOffload'), options);
  }

  /**
   * Starts a shelved instance. One that was taken off the host is claimed anew and made of the image it was stored as, with
   * its uuid, interfaces and volumes; its ephemeral and swap disks are new. The image stays where it is. Not shelved is
   * success. It stays shelved where this fails or is aborted. Rejects with `CLAIM_REFUSED`, `IMAGE_*`, `START_FAILED`.
   */
  async unshelve(uuid: string, options: UnshelveOptions = {}): Promise<void> {
    await unshelveInstance(this.context, canonicalUuid(uuid, 'unshelve'), options);
  }

  /**
   * Makes an image of its root disk, in Glance or in a file, while it runs on; volumes are not in it. On failure it is as before
   * and nothing is left, after a crash from the next start on. Rejects with `NO_SPACE`, `IMAGE_UPLOAD_FAILED`,
   * `IMAGE_CHECKSUM_MISMATCH`, `AGENT_UNAVAILABLE`, `INSTANCE_BUSY`.
   */
  async snapshot(
    uuid: string,
    target: SnapshotTarget,
    options: SnapshotNodeOptions = {},
  ): Promise<SnapshotResult> {
    return await snapshotInstance(this.context, canonicalUuid(uuid, 'snapshot'), target, options);
  }

  /**
   * Removes the record in Glance that a snapshot was to fill, and what is left of that here; an image that is whole stays, and
   * gone already is success. The instance may be gone. Rejects with `IMAGE_UPLOAD_FAILED`, `UNAUTHORIZED`.
   */
  async discardSnapshot(uuid: string, imageId: string, options: OperationOptions = {}): Promise<void> {
    await discardSnapshot(this.context, canonicalUuid(uuid, 'discardSnapshot'), imageId, options);
  }

  /**
   * Another flavor, on this host: the guest is asked to shut down, its disks grow, it starts again. It then waits in Nova's
   * VERIFY_RESIZE ({@link InstanceView.resize}), with its old disks kept and both flavors claimed, for {@link confirmResize}
   * or {@link revertResize}. A failure or an abort takes it back. Rejects with `CLAIM_REFUSED`, `FLAVOR_DISK_TOO_SMALL` for
   * disks that would shrink, `INVALID_STATE` where it neither runs nor is stopped, or is resized already.
   */
  async resize(uuid: string, flavor: LaunchRequest['flavor'], options: ResizeOptions = {}): Promise<void> {
    const wanted: Flavor = parseFlavor(flavor);
    await resizeInstance(this.context, canonicalUuid(uuid, 'resize'), wanted, options);
  }

  /** Its old disks go. Rejects with `INVALID_STATE` where it has not been resized. */
  async confirmResize(uuid: string, options: OperationOptions = {}): Promise<void> {
    await confirmResize(this.context, canonicalUuid(uuid, 'confirmResize'), options);
  }

  /**
   * Pulls the plug; it has its old flavor and its old disks, as they were when it was resized, and runs if it did then.
   * Rejects with `INVALID_STATE` where it has not been resized.
   */
  async revertResize(uuid: string, options: OperationOptions = {}): Promise<void> {
    await revertResize(this.context, canonicalUuid(uuid, 'revertResize'), options);
  }

  /**
   * Memory and vCPUs while it runs, within what it was started with: its flavor's memory, and more where the extra specs
   * `node_compute:max_memory_mb` and `node_compute:max_vcpus` say so. Its flavor says so from then on. Rejects with
   * `LIVE_RESIZE_FAILED` where the guest does not follow, `INVALID_STATE` where it does not run or has no room,
   * `CLAIM_REFUSED`, `UNSUPPORTED` where the capability `liveResize` is false; all is then as before.
   */
  async liveResize(uuid: string, size: LiveResizeRequest, options: OperationOptions = {}): Promise<void> {
    const request = parseLiveResize(size);
    await liveResizeInstance(this.context, canonicalUuid(uuid, 'liveResize'), request, options);
  }

  /** Moves it, running, to another host; this node then knows it no more. `UNSUPPORTED` where `liveMigration` is false. */
  async migrate(uuid: string, destination: string, options: OperationOptions = {}): Promise<void> {
    await migrateInstance(this.context, canonicalUuid(uuid, 'migrate'), destination, options);
  }
}
