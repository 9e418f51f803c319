// A hard disk.
import { element, type XmlAttributes, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import type { Guest } from '../vocabulary/guest.js';
import type { DiskPlace } from './disk-layout.js';
import { iotuneElement } from './iotune.js';

export function diskElement(disk: DiskPlace, guest: Guest, host: HostFacts): XmlElement {
  return element('disk', { type: 'file', device: 'disk' }, [
    element('driver', {
      ...fileDriver(disk, host),
      discard: 'unmap',
      packed: guest.packedRing && disk.bus === 'virtio' ? 'on' : undefined,
    }),
    element('source', { file: disk.path }),
    backingElement(disk),
    element('target', { dev: disk.target, bus: disk.bus }),
    bootElement(disk),
    iotuneElement(guest.diskLimits),
  ]);
}

export function bootElement({ bootOrder }: DiskPlace): XmlElement | undefined {
  return bootOrder && element('boot', { order: bootOrder });
}

/**
 * The chain as we made it, so that libvirt reads no image header to find it. Without the label it would hand the shared
 * base over to QEMU's user, who could then write to what other instances stand on.
 */
export function backingElement({ backing }: DiskPlace): XmlElement | undefined {
  if (backing === undefined) return undefined;
  return element('backingStore', { type: 'file' }, [
    element('format', { type: backing.format }),
    element('source', { file: backing.path }, [element('seclabel', { model: 'dac', relabel: 'no' })]),
    element('backingStore'),
  ]);
}

/**
 * The format is always written: without it libvirt would take what the guest may have written for one.
 * Never native AIO: its contexts come out of one number for the whole host (fs.aio-max-nr), which some thirty instances
 * use up, so that the next fails to start; and it blocks where a sparse file has to grow.
 */
export function fileDriver(disk: DiskPlace, host: HostFacts): XmlAttributes {
  return { name: 'qemu', type: disk.format, cache: host.diskCache ?? 'none', io: 'threads' };
}
