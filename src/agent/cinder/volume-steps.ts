// What attaching, detaching and swapping are made of: one step at Cinder or in the guest each. Cinder is waited for while it is away.
import { ComputeError } from '../../driver/errors.js';
import { type AttachedVolume, findVolume, type VolumeConnection } from '../../driver/volume.js';
import type { ComputeNode } from '../../node/compute-node.js';
import type { Logger } from '../../node/types.js';
import { persist } from '../persist.js';
import type { CallOptions } from '../rpc-client.js';
import { Cinder, type CinderOptions } from './cinder.js';
import { volumeConnection } from './connection-info.js';
import type { Connector } from './connector.js';
import type { Attachment, Volume } from './resources.js';

export interface VolumeStepsOptions {
  readonly cinder: CinderOptions;
  readonly node: ComputeNode;
  readonly connector: Connector;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** An instance, and what is asked for its sake. */
export interface Owner {
  readonly uuid: string;
  readonly call: CallOptions & { readonly signal: AbortSignal };
}

/** A volume that Nova's API has reserved. */
export interface Reserved {
  readonly volumeId: string;
  readonly attachmentId: string;
  /** `/dev/vdb`. */
  readonly mountpoint: string;
}

export interface Ready {
  readonly volume: Volume;
  readonly attachment: Attachment;
  readonly connection: VolumeConnection;
}

export class VolumeSteps {
  readonly #cinder: Cinder;
  readonly #options: VolumeStepsOptions;

  /** Throws `INVALID_ARGUMENT`; asks nobody yet. */
  constructor(options: VolumeStepsOptions) {
    this.#options = options;
    this.#cinder = new Cinder(options.cinder, options.signal);
  }

  /** Cinder knows this host, and we how to reach the volume. `isRepeated`: it may know it already. */
  async ready(owner: Owner, reserved: Reserved, isRepeated: boolean): Promise<Ready> {
    const { volumeId } = reserved;
    const volume = await this.volume(volumeId);
    const { encrypted } = volume;
    const attachment = await this.#connect(reserved, isRepeated);
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

  async volume(id: string): Promise<Volume> {
    return await this.#persist(() => this.#cinder.volume(id));
  }

  /** Whether the attachment is that of the volume to this instance: a message may name any. */
  async isAttachmentOf({ uuid }: Owner, volumeId: string, attachmentId: string): Promise<boolean> {
    const attachment = await this.#persist(() => this.#cinder.attachment(attachmentId));
    return attachment.volume_id === volumeId && attachment.instance === uuid;
  }

  async deleteVolume(id: string): Promise<void> {
    await this.#persist(() => this.#cinder.deleteVolume(id));
  }

  /** The volume is in use from here on. */
  async complete(attachmentId: string): Promise<void> {
    await this.#persist(() => this.#cinder.complete(attachmentId));
  }

  /** Gone already is success. */
  async deleteAttachment(id: string): Promise<void> {
    await this.#persist(() => this.#cinder.deleteAttachment(id));
  }

  async rollDetaching(owner: Owner, volumeId: string): Promise<void> {
    await this.tried(owner, `the volume ${volumeId} stays in its state`, () =>
      this.#cinder.rollDetaching(volumeId),
    );
  }

  /** Where Cinder wanted its data to move to the other one. */
  async failMigration(owner: Owner, volumeId: string, toId: string): Promise<void> {
    await this.tried(owner, `the migration of volume ${volumeId} does not end`, async () => {
      if (isMigrating(await this.#cinder.volume(volumeId))) await this.#cinder.failMigration(volumeId, toId);
    });
  }

  /** What the guest has of the volume. */
  async disk({ uuid }: Owner, volumeId: string): Promise<AttachedVolume | undefined> {
    const { node, signal } = this.#options;
    try {
      const { volumes } = await node.get(uuid, { signal });
      return volumes.find(({ connection }) => connection.serial === volumeId);
    } catch (error) {
      if (isCode(error, 'INSTANCE_NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** By the name that it was promised, or by the next one where that is another disk's by now. */
  async putOn(
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

  /** Throws `DEVICE_IN_USE` where the guest has what Cinder says of this volume as another one. */
  async refuseOther({ uuid }: Owner, volumeId: string, connection: VolumeConnection): Promise<void> {
    const { node, signal } = this.#options;
    const { volumes } = await node.get(uuid, { signal });
    const standing = findVolume(volumes, connection);
    if (standing === undefined || standing.connection.serial === volumeId) return;
    throw new ComputeError(
      'DEVICE_IN_USE',
      `volume ${volumeId} is the disk ${standing.device} of instance ${uuid}, by another name`,
      { operation: 'attach_volume', instanceUuid: uuid, details: { volumeId } },
    );
  }

  /**
   * Off the guest; it may not be there. `connection`: of an attachment that was cut short, which the node takes for undone, but
   * a hypervisor that went away meanwhile may not have undone.
   */
  async takeOff(owner: Owner, volumeId: string, connection?: VolumeConnection): Promise<void> {
    const { node, signal } = this.#options;
    const known = (await this.disk(owner, volumeId))?.connection ?? connection;
    try {
      if (known) await node.detachVolume(owner.uuid, known, { signal });
    } catch (error) {
      if (!isCode(error, 'INSTANCE_NOT_FOUND')) throw error;
    }
  }

  /** A failure is told in the log, in these words. Rejects only when the host has to end. */
  async tried({ uuid }: Owner, otherwise: string, work: () => Promise<void>): Promise<boolean> {
    const { signal, log } = this.#options;
    try {
      await this.#persist(work);
      return true;
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn(`${otherwise}: ${(error as Error).message}`, { instanceUuid: uuid });
      return false;
    }
  }

  async close(): Promise<void> {
    await this.#cinder.close();
  }

  async #persist<T>(work: () => Promise<T>): Promise<T> {
    return await persist(this.#options.signal, work);
  }

  /** Where the answer was lost the attachment has been told of this host already. */
  async #connect({ attachmentId: id, mountpoint }: Reserved, isRepeated: boolean): Promise<Attachment> {
    const { connector, signal } = this.#options;
    return await persist(signal, async (isAgain) => {
      const standing = isAgain || isRepeated ? await this.#cinder.attachment(id) : undefined;
      if (standing && 'driver_volume_type' in standing.connection_info) return standing;
      return await this.#cinder.connect(id, { ...connector, mountpoint });
    });
  }
}

/** As Cinder's retype and migration of a volume in use. */
export function isMigrating({ migration_status: status }: Volume): boolean {
  return status === 'migrating';
}

export function notOf({ uuid }: Owner, volumeId: string, operation: string): ComputeError {
  return new ComputeError('DEVICE_NOT_FOUND', `instance ${uuid} has no volume ${volumeId}`, {
    operation,
    instanceUuid: uuid,
    details: { volumeId },
  });
}

function isCode(error: unknown, code: ComputeError['code']): boolean {
  return ComputeError.is(error) && error.code === code;
}
