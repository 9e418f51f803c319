// A volume as a disk of the domain.
import { type AttachedVolume, NBD_PORT, type VolumeConnection } from '../../../driver/volume.js';
import { element, textElement, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import type { Guest } from '../vocabulary/guest.js';
import { iotuneElement } from './iotune.js';

/**
 * The format is always written and the chain always ended: neither libvirt nor QEMU reads a header to find out what a
 * volume is, or opens another file because a header names one.
 */
export function volumeElement(
  { connection, device }: AttachedVolume,
  guest: Guest,
  host: HostFacts,
): XmlElement {
  const { serial, cacheMode, discard = false, limits, readOnly = false, multiattach = false } = connection;
  const virtio = device.startsWith('v');
  return element('disk', { type: DISK_TYPE[connection.driverVolumeType], device: 'disk' }, [
    element('driver', {
      name: 'qemu',
      type: connection.driverVolumeType === 'file' ? connection.data.format : 'raw',
      cache: cacheMode ?? usualCache(connection, host),
      discard: discard ? 'unmap' : undefined,
      packed: guest.packedRing && virtio ? 'on' : undefined,
    }),
    sourceElement(connection),
    element('backingStore'),
    element('target', { dev: device, bus: virtio ? 'virtio' : 'scsi' }),
    limits &&
      iotuneElement({
        totalBytes: limits.totalBytes,
        readBytes: limits.readBytes,
        writeBytes: limits.writeBytes,
        totalIops: limits.totalIops,
        readIops: limits.readIops,
        writeIops: limits.writeIops,
      }),
    readOnly ? element('readonly') : undefined,
    multiattach ? element('shareable') : undefined,
    serial === undefined ? undefined : textElement('serial', serial),
  ]);
}

const DISK_TYPE = { file: 'file', block: 'block', nbd: 'network', rbd: 'network' } as const;

/** What is not a file of the instances path: O_DIRECT on a file elsewhere may not be there, on the others always is. */
function usualCache({ driverVolumeType }: VolumeConnection, host: HostFacts): string {
  return driverVolumeType === 'file' ? (host.diskCache ?? 'none') : 'none';
}

function sourceElement(connection: VolumeConnection): XmlElement {
  switch (connection.driverVolumeType) {
    case 'file':
      return element('source', { file: connection.data.path });
    case 'block':
      return element('source', { dev: connection.data.path });
    case 'nbd': {
      const { data } = connection;
      return element('source', { protocol: 'nbd', name: data.export }, [
        'socket' in data
          ? element('host', { transport: 'unix', socket: data.socket })
          : element('host', { name: data.host, port: data.port ?? NBD_PORT }),
      ]);
    }
    case 'rbd': {
      const { pool, image, hosts, auth } = connection.data;
      return element('source', { protocol: 'rbd', name: `${pool}/${image}` }, [
        ...hosts.map(({ name, port }) => element('host', { name, port })),
        auth &&
          element('auth', { username: auth.username }, [
            element('secret', { type: 'ceph', uuid: auth.secretUuid }),
          ]),
      ]);
    }
  }
}
