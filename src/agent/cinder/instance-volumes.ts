// The volumes of the host's instances: attachments in Cinder, records in Nova's database, disks of the guests.
import { ComputeError } from '../../driver/errors.js';
import type { AttachedVolume, VolumeConnection } from '../../driver/volume.js';
import type { ComputeNode } from '../../node/compute-node.js';
import type { Logger } from '../../node/types.js';
import type { Conductor } from '../conductor.js';
import { InstanceTurns } from '../instance-turns.js';
import type { NovaObject } from '../nova-object.js';
import { persist } from '../persist.js';
import type { CallOptions } from '../rpc-client.js';
import { Cinder, type CinderOptions } from './cinder.js';
import { volumeConnection } from './connection-info.js';
import type { Connector } from './connector.js';
import { DEVICES, nameOf } from './device-name.js';
import type { Attachment, Volume } from './resources.js';
import {
  connectionInfo,
  destroyMapping,
  findMapping,
  saveMapping,
  volumeMappings,
} from './volume-mappings.js';

export interface InstanceVolumesOptions {
  readonly cinder: CinderOptions;
  readonly node: ComputeNode;
  readonly conductor: Conductor;
  readonly connector: Connector;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** An instance, and what is asked for its sake. */
interface Owner {
  readonly uuid: string;
  readonly call: CallOptions & { readonly signal: AbortSignal };
}

interface Ready {
  readonly volume: Volume;
  readonly attachment: Attachment;
  readonly connection: VolumeConnection;
}

/** While Cinder or the conductor are away it waits for them. Changes of one instance's volumes are made one after another. */
export class InstanceVolumes {
  readonly #cinder: Cinder;
  readonly #options: InstanceVolumesOptions;
  readonly #turns = new InstanceTurns();

  /** Throws `INVALID_ARGUMENT`; asks nobody yet. */
  constructor(options: InstanceVolumesOptions) {
    this.#options = options;
    this.#cinder = new Cinder(options.cinder, options.signal);
  }

  /** For what must not meet another change of the instance's volumes. */
  async inTurn<T>(uuid: string, work: () => Promise<T>): Promise<T> {
    return await this.#turns.take(uuid, work);
  }

  /** Of a volume that Nova's API has reserved. On failure nothing of it is left: no disk, no attachment, no record. */
  async attach(owner: Owner, volumeId: string, isRepeated: boolean): Promise<void> {
    await this.inTurn(owner.uuid, async () => {
      const mapping = await this.#mapping(owner, volumeId);
      // An earlier process has taken it back, or its user has detached it since.
      if (!mapping && isRepeated) return;
      if (!mapping) throw notOf(owner, volumeId, 'attach_volume');
      if (!isRepeated && mapping.get('connection_info') != null) throw attachedAlready(owner, volumeId);
      let mayBeOn = isRepeated;
      try {
        const ready = await this.#ready(owner, volumeId, mapping, isRepeated);
        // Its last step is done, by an earlier process.
        if (isRepeated && ready.attachment.status === 'attached' && (await this.#disk(owner, volumeId)))
          return;
        const { device } = await this.#putOn(owner, ready.connection, nameOf(mapping.get('device_name')));
        mayBeOn = true;
        await this.#tell(owner, mapping, ready, device);
      } catch (error) {
        if (!this.#options.signal.aborted) await this.#undo(owner, volumeId, mapping, mayBeOn);
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
    const { conductor } = this.#options;
    await this.inTurn(owner.uuid, async () => {
      const mapping = await this.#mapping(owner, volumeId);
      if (!mapping && isRepeated) return;
      if (!mapping) throw notOf(owner, volumeId, 'detach_volume');
      try {
        await this.#takeOff(owner, volumeId);
        await this.#deleteAttachment(mapping);
      } catch (error) {
        if (!this.#options.signal.aborted) await this.rollDetaching(owner, volumeId);
        throw error;
      }
      await destroyMapping(conductor, mapping, owner.call);
    });
  }

  /** Does not reject, but when the host has to end. */
  async rollDetaching(owner: Owner, volumeId: string): Promise<void> {
    await this.#tried(owner, `the volume ${volumeId} stays in its state`, () =>
      this.#cinder.rollDetaching(volumeId),
    );
  }

  /** Of an instance that is no more. What Cinder refuses is told in the log: the deletion is not held up. */
  async release(owner: Owner): Promise<void> {
    const { conductor } = this.#options;
    await this.inTurn(owner.uuid, async () => {
      for (const mapping of await volumeMappings(conductor, owner.uuid, owner.call)) {
        const volumeId = String(mapping.get('volume_id'));
        await this.#tried(owner, `the volume ${volumeId} stays attached`, () =>
          this.#deleteAttachment(mapping),
        );
        if (mapping.get('delete_on_termination') !== true) continue;
        await this.#tried(owner, `the volume ${volumeId} stays`, () => this.#cinder.deleteVolume(volumeId));
      }
    });
  }

  /** Cinder has made it larger: the guest is shown so. False: the instance has no such volume. */
  async extended(owner: Owner, volumeId: string): Promise<boolean> {
    const { node, conductor, signal } = this.#options;
    return await this.inTurn(owner.uuid, async () => {
      const mapping = await this.#mapping(owner, volumeId);
      const disk = mapping && (await this.#disk(owner, volumeId));
      if (!disk) return false;
      const { size } = await this.#volume(volumeId);
      await saveMapping(conductor, mapping, { volume_size: size }, owner.call);
      await node.extendVolume(owner.uuid, disk.connection, size * 2 ** 30, { signal });
      return true;
    });
  }

  async close(): Promise<void> {
    await this.#cinder.close();
  }

  /** Cinder knows this host, and we how to reach the volume. */
  async #ready(owner: Owner, volumeId: string, mapping: NovaObject, isRepeated: boolean): Promise<Ready> {
    const volume = await this.#volume(volumeId);
    const { encrypted } = volume;
    const attachment = await this.#connect(attachmentOf(mapping), mapping, isRepeated);
    if (attachment.volume_id !== volumeId) throw notOf(owner, volumeId, 'attach_volume');
    const info = { ...attachment.connection_info, ...(encrypted && { encrypted }) };
    const connection = await volumeConnection(info, {
      volumeId,
      instanceUuid: owner.uuid,
      multiattach: volume.multiattach === true,
      mountBase: this.#options.cinder.mountBase,
    });
    return { volume, attachment, connection };
  }

  /** First Nova: to detach it, it has to know of it. */
  async #tell(
    owner: Owner,
    mapping: NovaObject,
    { volume, attachment, connection }: Ready,
    device: string,
  ): Promise<void> {
    const { conductor, signal } = this.#options;
    const fields = {
      device_name: `${DEVICES}${device}`,
      connection_info: connectionInfo(attachment, connection),
      volume_size: volume.size,
    };
    await saveMapping(conductor, mapping, fields, owner.call);
    await persist(signal, () => this.#cinder.complete(attachmentOf(mapping)));
  }

  /** Where the answer was lost the attachment has been told of this host already. */
  async #connect(id: string, mapping: NovaObject, isRepeated: boolean): Promise<Attachment> {
    const { connector, signal } = this.#options;
    const mountpoint = String(mapping.get('device_name'));
    return await persist(signal, async (isAgain) => {
      const standing = isAgain || isRepeated ? await this.#cinder.attachment(id) : undefined;
      if (standing && 'driver_volume_type' in standing.connection_info) return standing;
      return await this.#cinder.connect(id, { ...connector, mountpoint });
    });
  }

  /** By the name that it was promised, or by the next one where that is another disk's by now. */
  async #putOn(
    { uuid }: Owner,
    connection: VolumeConnection,
    device: string | undefined,
  ): Promise<AttachedVolume> {
    const { node, signal } = this.#options;
    try {
      return await node.attachVolume(uuid, connection, { signal, ...(device !== undefined && { device }) });
    } catch (error) {
      if (device === undefined || !isCode(error, 'DEVICE_IN_USE')) throw error;
      return await node.attachVolume(uuid, connection, { signal });
    }
  }

  /** A guest that keeps it keeps all of it: to tell Cinder otherwise would give it to two guests. */
  async #undo(owner: Owner, volumeId: string, mapping: NovaObject, mayBeOn: boolean): Promise<void> {
    const { conductor, signal, log } = this.#options;
    try {
      if (mayBeOn) await this.#takeOff(owner, volumeId);
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn(
        `the volume ${volumeId} is not attached, and stays at ${owner.uuid}: ${(error as Error).message}`,
        {
          instanceUuid: owner.uuid,
          volumeId,
        },
      );
      return;
    }
    await this.#tried(owner, `the volume ${volumeId} stays reserved`, () => this.#deleteAttachment(mapping));
    await this.#tried(owner, `the record of volume ${volumeId} stays`, () =>
      destroyMapping(conductor, mapping, owner.call),
    );
  }

  /** Off the guest; it may not be there. */
  async #takeOff(owner: Owner, volumeId: string): Promise<void> {
    const { node, signal } = this.#options;
    const disk = await this.#disk(owner, volumeId);
    if (disk) await node.detachVolume(owner.uuid, disk.connection, { signal });
  }

  async #deleteAttachment(mapping: NovaObject): Promise<void> {
    const { signal } = this.#options;
    await persist(signal, () => this.#cinder.deleteAttachment(attachmentOf(mapping)));
  }

  /** What the guest has of the volume. */
  async #disk({ uuid }: Owner, volumeId: string): Promise<AttachedVolume | undefined> {
    const { node, signal } = this.#options;
    try {
      const { volumes } = await node.get(uuid, { signal });
      return volumes.find(({ connection }) => connection.serial === volumeId);
    } catch (error) {
      if (isCode(error, 'INSTANCE_NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async #mapping({ uuid, call }: Owner, volumeId: string): Promise<NovaObject | undefined> {
    return await findMapping(this.#options.conductor, uuid, volumeId, call);
  }

  async #volume(id: string): Promise<Volume> {
    return await persist(this.#options.signal, () => this.#cinder.volume(id));
  }

  async #tried({ uuid }: Owner, otherwise: string, work: () => Promise<void>): Promise<void> {
    const { signal, log } = this.#options;
    try {
      await persist(signal, work);
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn(`${otherwise}: ${(error as Error).message}`, { instanceUuid: uuid });
    }
  }
}

/** Throws `UNSUPPORTED` for what was attached without one, as before Nova 17. */
function attachmentOf(mapping: NovaObject): string {
  const id = mapping.get('attachment_id');
  if (typeof id === 'string') return id;
  const volumeId = String(mapping.get('volume_id'));
  throw new ComputeError('UNSUPPORTED', `volume ${volumeId} has no attachment in Cinder`, {
    operation: 'attachment',
    details: { volumeId },
  });
}

function notOf({ uuid }: Owner, volumeId: string, operation: string): ComputeError {
  return new ComputeError('DEVICE_NOT_FOUND', `instance ${uuid} has no volume ${volumeId}`, {
    operation,
    instanceUuid: uuid,
    details: { volumeId },
  });
}

function attachedAlready({ uuid }: Owner, volumeId: string): ComputeError {
  return new ComputeError('DEVICE_IN_USE', `volume ${volumeId} is attached to instance ${uuid} already`, {
    operation: 'attach_volume',
    instanceUuid: uuid,
    details: { volumeId },
  });
}

function isCode(error: unknown, code: ComputeError['code']): boolean {
  return ComputeError.is(error) && error.code === code;
}
