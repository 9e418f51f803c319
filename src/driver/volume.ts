// A volume beside the instance's own disks: how the host reaches it and how the guest sees it.

/** Limits per second; what is absent is without limit. */
export interface VolumeLimits {
  readonly totalBytes?: number;
  readonly readBytes?: number;
  readonly writeBytes?: number;
  readonly totalIops?: number;
  readonly readIops?: number;
  readonly writeIops?: number;
}

export interface VolumeSettings {
  /** The disk's serial number: at most 36 of letters, digits and _ . + -. A virtio disk shows the first 20. */
  readonly serial?: string;
  /** Default: the driver's own for instances' disks. */
  readonly cacheMode?: 'none' | 'writeback' | 'writethrough' | 'directsync' | 'unsafe';
  /** What the guest trims is given back to the storage. Default false. */
  readonly discard?: boolean;
  readonly limits?: VolumeLimits;
  /** Default false. */
  readonly readOnly?: boolean;
  /** Other instances may write to it at the same time; raw ones only. Default false. */
  readonly multiattach?: boolean;
}

/** Nova's connection info: how the host reaches the volume, as the block service gave it. The format is never probed. */
export type VolumeConnection = VolumeSettings &
  (
    | {
        readonly driverVolumeType: 'file';
        /** `path` is absolute. A qcow2 file stands alone: one with a backing file is refused. */
        readonly data: { readonly path: string; readonly format: 'raw' | 'qcow2' };
      }
    | {
        readonly driverVolumeType: 'block';
        /** A block device below /dev, or a link to one. */
        readonly data: { readonly path: string };
      }
    | {
        readonly driverVolumeType: 'nbd';
        /** `port` is 10809 by default, `export` the server's default one. */
        readonly data:
          | { readonly socket: string; readonly export?: string }
          | { readonly host: string; readonly port?: number; readonly export?: string };
      }
    | {
        readonly driverVolumeType: 'rbd';
        readonly data: {
          readonly pool: string;
          readonly image: string;
          readonly hosts: readonly { readonly name: string; readonly port?: number }[];
          /** `secretUuid` is that of a secret which libvirt has. */
          readonly auth?: { readonly username: string; readonly secretUuid: string };
        };
      }
  );

/** A volume in its place. */
export interface AttachedVolume {
  readonly connection: VolumeConnection;
  /** Name of the disk in the definition: `vdb`. A guest may name it otherwise. */
  readonly device: string;
}

/** Equal for connections to one volume, whatever their settings. */
export function volumeKey({ driverVolumeType, data }: VolumeConnection): string {
  switch (driverVolumeType) {
    case 'file':
    case 'block':
      return `${driverVolumeType}:${data.path}`;
    case 'nbd': {
      const server = 'socket' in data ? data.socket : `${data.host}:${data.port ?? NBD_PORT}`;
      return `nbd:${server}/${data.export ?? ''}`;
    }
    case 'rbd':
      return `rbd:${data.pool}/${data.image}`;
  }
}

export const NBD_PORT = 10809;

/** The volume of that instance which the connection leads to. */
export function findVolume(
  volumes: readonly AttachedVolume[] | undefined,
  connection: VolumeConnection,
): AttachedVolume | undefined {
  const key = volumeKey(connection);
  return volumes?.find((volume) => volumeKey(volume.connection) === key);
}
