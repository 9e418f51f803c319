// A CD-ROM: the config drive, or the disk of an ISO image.
import { element, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import type { Guest } from '../vocabulary/guest.js';
import { backingElement, bootElement, fileDriver } from './disk.js';
import type { DiskPlace } from './disk-layout.js';
import { iotuneElement } from './iotune.js';

export function cdromElement(disk: DiskPlace, guest: Guest, host: HostFacts): XmlElement {
  return element('disk', { type: 'file', device: 'cdrom' }, [
    element('driver', fileDriver(disk, host)),
    element('source', { file: disk.path }),
    backingElement(disk),
    element('target', { dev: disk.target, bus: disk.bus }),
    bootElement(disk),
    element('readonly'),
    iotuneElement(guest.diskLimits),
  ]);
}
