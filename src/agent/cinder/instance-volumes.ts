// The volumes of the host's instances: attachments in Cinder, records in Nova's database, disks of the guests.
import { ComputeError } from '../../driver/errors.js';
import type { VolumeConnection } from '../../driver/volume.js';
import type { Conductor } from '../conductor.js';
import { InstanceTurns } from '../instance-turns.js';
import type { NovaObject } from '../nova-object.js';
import { outlast } from '../outage.js';
import { DEVICES, nameOf } from './device-name.js';
import {
  attachmentOf,
  connectionInfo,
  destroyMapping,
  findMapping,
  saveMapping,
  volumeMappings,
} from './volume-mappings.js';
import {
  notOf,
  type Owner,
  type Ready,
  type Reserved,
  VolumeSteps,
  type VolumeStepsOptions,
} from './volume-steps.js';
import { giveUpSwap, type Swap, swapVolume } from './volume-swap.js';

export interface InstanceVolumesOptions extends VolumeStepsOptions {
  readonly conductor: Conductor;
  /** Milliseconds for which the hypervisor is waited for. */
  readonly outageTimeoutMs: number;
}

/** While Cinder or the conductor are away it waits for them. Changes of one instance's volumes are made one after another. */
export class InstanceVolumes {
  readonly #options: InstanceVolumesOptions;
  readonly #steps: VolumeSteps;
  readonly #turns = new InstanceTurns();

  /** Throws `INVALID_ARGUMENT`; asks nobody yet. */
  constructor(options: InstanceVolumesOptions) {
    this.#options = options;
    this.#steps = new VolumeSteps(options);
  }

  /** For what must not meet another change of the instance's volumes. */
  async inTurn<T>(uuid: string, work: () => Promise<T>): Promise<T> {
    return await this.#turns.take(uuid, work);
  }

  /** Of a volume that Nova's API has reserved. On failure nothing of it is left: no disk, no attachment, no record. */
  async attach(owner: Owner, volumeId: string, isRepeated: boolean): Promise<void> {
    const steps = this.#steps;
    await this.inTurn(owner.uuid, async () => {
      const mapping = await this.#mapping(owner, volumeId);
      // An earlier process has taken it back, or its user has detached it since.
      if (!mapping && isRepeated) return;
      if (!mapping) throw notOf(owner, volumeId, 'attach_volume');
      if (!isRepeated && mapping.get('connection_info') != null) throw attachedAlready(owner, volumeId);
      let mayBeOn = isRepeated;
      let connection: VolumeConnection | undefined;
      try {
        // Before Cinder hears of it: while the hypervisor is away nothing begins.
        await outlast(this.#options, owner.uuid, () => steps.disk(owner, volumeId));
        const mountpoint = String(mapping.get('device_name'));
        const reserved = { volumeId, attachmentId: attachmentOf(mapping), mountpoint };
        const ready = await steps.ready(owner, reserved, isRepeated);
        // Its last step is done, by an earlier process.
        const isDone = isRepeated && ready.attachment.status === 'attached';
        if (isDone && (await steps.disk(owner, volumeId))) return;
        await steps.refuseOther(owner, volumeId, ready.connection);
        mayBeOn = true;
        connection = ready.connection;
        const { device } = await steps.putOn(owner, connection, nameOf(mountpoint));
        await this.#tell(owner, mapping, reserved, ready, device);
      } catch (error) {
        if (!this.#options.signal.aborted) await this.#undo(owner, volumeId, mapping, mayBeOn, connection);
        throw error;
      }
    });
  }

  /** As after a failure; there may be nothing of it. */
  async giveUpAttaching(owner: Owner, volumeId: string): Promise<void> {
    await this.inTurn(owner.uuid, async () => {
      const mapping = await this.#mapping(owner, volumeId);
      if (mapping) await this.#undo(owner, volumeId, mapping, true);
    });
  }

  /** On failure it is attached, to Cinder and Nova, and can be detached again. */
  async detach(owner: Owner, volumeId: string, isRepeated: boolean): Promise<void> {
    await this.inTurn(owner.uuid, async () => {
      const mapping = await this.#mapping(owner, volumeId);
      if (!mapping && isRepeated) return;
      if (!mapping) throw notOf(owner, volumeId, 'detach_volume');
      try {
        await outlast(this.#options, owner.uuid, () => this.#steps.takeOff(owner, volumeId));
        await this.#steps.deleteAttachment(attachmentOf(mapping));
      } catch (error) {
        if (!this.#options.signal.aborted) await this.#steps.rollDetaching(owner, volumeId);
        throw error;
      }
      await destroyMapping(this.#options.conductor, mapping, owner.call);
    });
  }

  /** Where it may be detached or not. Rejects only when the host has to end. */
  async giveUpDetaching(owner: Owner, volumeId: string): Promise<void> {
    await this.#steps.rollDetaching(owner, volumeId);
  }

  /** One for another, with all that it holds. On failure the guest has the first one, and nothing of the other is left. */
  async swap(owner: Owner, swap: Swap, isRepeated: boolean): Promise<void> {
    await this.inTurn(owner.uuid, () =>
      swapVolume({ ...this.#options, steps: this.#steps, owner }, swap, isRepeated),
    );
  }

  async giveUpSwapping(owner: Owner, swap: Swap): Promise<void> {
    await this.inTurn(owner.uuid, () => giveUpSwap({ ...this.#options, steps: this.#steps, owner }, swap));
  }

  /** Of an instance that is no more. What Cinder refuses is told in the log: the deletion is not held up. */
  async release(owner: Owner): Promise<void> {
    const steps = this.#steps;
    await this.inTurn(owner.uuid, async () => {
      for (const mapping of await volumeMappings(this.#options.conductor, owner.uuid, owner.call)) {
        const volumeId = String(mapping.get('volume_id'));
        await steps.tried(owner, `the volume ${volumeId} stays attached`, () =>
          steps.deleteAttachment(attachmentOf(mapping)),
        );
        if (mapping.get('delete_on_termination') !== true) continue;
        await steps.tried(owner, `the volume ${volumeId} stays`, () => steps.deleteVolume(volumeId));
      }
    });
  }

  /** Cinder has made it larger: the guest is shown so. False: the instance has no such volume. */
  async extended(owner: Owner, volumeId: string): Promise<boolean> {
    const { node, conductor, signal } = this.#options;
    return await this.inTurn(owner.uuid, async () => {
      const mapping = await this.#mapping(owner, volumeId);
      const disk = mapping && (await this.#steps.disk(owner, volumeId));
      if (!disk) return false;
      const { size } = await this.#steps.volume(volumeId);
      await saveMapping(conductor, mapping, { volume_size: size }, owner.call);
      await node.extendVolume(owner.uuid, disk.connection, size * 2 ** 30, { signal });
      return true;
    });
  }

  async close(): Promise<void> {
    await this.#steps.close();
  }

  /** First Nova: to detach it, it has to know of it. */
  async #tell(
    owner: Owner,
    mapping: NovaObject,
    { attachmentId }: Reserved,
    { volume, attachment, connection }: Ready,
    device: string,
  ): Promise<void> {
    const fields = {
      device_name: `${DEVICES}${device}`,
      connection_info: connectionInfo(attachment, connection),
      volume_size: volume.size,
    };
    await saveMapping(this.#options.conductor, mapping, fields, owner.call);
    await this.#steps.complete(attachmentId);
  }

  /** A guest that keeps it keeps all of it: to tell Cinder otherwise would give it to two guests. */
  async #undo(
    owner: Owner,
    volumeId: string,
    mapping: NovaObject,
    mayBeOn: boolean,
    connection?: VolumeConnection,
  ): Promise<void> {
    const steps = this.#steps;
    const stays = `the volume ${volumeId} is not attached, and stays at ${owner.uuid}`;
    const takeOff = (): Promise<void> =>
      outlast(this.#options, owner.uuid, () => steps.takeOff(owner, volumeId, connection));
    if (mayBeOn && !(await steps.tried(owner, stays, takeOff))) return;
    await steps.tried(owner, `the volume ${volumeId} stays reserved`, () =>
      steps.deleteAttachment(attachmentOf(mapping)),
    );
    await steps.tried(owner, `the record of volume ${volumeId} stays`, () =>
      destroyMapping(this.#options.conductor, mapping, owner.call),
    );
  }

  async #mapping({ uuid, call }: Owner, volumeId: string): Promise<NovaObject | undefined> {
    return await findMapping(this.#options.conductor, uuid, volumeId, call);
  }
}

function attachedAlready({ uuid }: Owner, volumeId: string): ComputeError {
  return new ComputeError('DEVICE_IN_USE', `volume ${volumeId} is attached to instance ${uuid} already`, {
    operation: 'attach_volume',
    instanceUuid: uuid,
    details: { volumeId },
  });
}
