// Which disk an image that rescues gives the instance.
import { expect, it } from 'vitest';
import type { DiskFormat } from '../../../src/driver/model.js';
import { diskLayout } from '../../../src/libvirt/xml/devices/disk-layout.js';
import { rescueTerms } from '../../../src/libvirt/xml/vocabulary/rescue-terms.js';
import { expectRefusal, guestOf, hostOf, platformOf, type Words } from './support.js';

const terms = (properties: Words, diskFormat: DiskFormat = 'qcow2'): unknown =>
  rescueTerms({ id: 'i', diskFormat, source: { type: 'file', path: '/i' }, properties });

it.each([
  [{}, 'qcow2', { device: 'disk', bus: undefined, isLast: false }],
  [{ hw_disk_bus: 'scsi' }, 'qcow2', { device: 'disk', bus: undefined, isLast: false }],
  [{}, 'iso', { device: 'cdrom', bus: undefined, isLast: false }],
  [{ hw_rescue_device: 'cdrom' }, 'qcow2', { device: 'cdrom', bus: undefined, isLast: true }],
  [{ hw_rescue_device: 'disk', hw_disk_bus: 'scsi' }, 'qcow2', { device: 'disk', bus: 'scsi', isLast: true }],
  [
    { hw_rescue_device: 'cdrom', hw_cdrom_bus: 'sata' },
    'iso',
    { device: 'cdrom', bus: 'sata', isLast: true },
  ],
  [{ hw_rescue_bus: 'usb' }, 'iso', { device: 'disk', bus: 'usb', isLast: true }],
] as const)('%j of an image %s', (properties, format, expected) => {
  expect(terms(properties, format)).toEqual(expected);
});

it.each([
  [{ hw_rescue_device: 'floppy' }, 'UNSUPPORTED', 'hw_rescue_device'],
  [{ hw_rescue_device: 'lun' }, 'UNSUPPORTED', 'hw_rescue_device'],
  [{ hw_rescue_device: 'tape' }, 'INVALID_ARGUMENT', 'hw_rescue_device'],
  [{ hw_rescue_bus: 'fdc' }, 'UNSUPPORTED', 'hw_rescue_bus'],
  [{ hw_rescue_bus: 'scsi-2' }, 'INVALID_ARGUMENT', 'hw_rescue_bus'],
] as const)('%j is refused', (properties, code, word) => {
  expectRefusal(() => terms(properties), code, word);
});

it('a CD-ROM on virtio is refused', () => {
  const guest = guestOf();
  const rescue = {
    rescuePath: '/r',
    rescueOrder: 'last',
    rescueDevice: 'cdrom',
    rescueBus: 'virtio',
  } as const;
  expectRefusal(
    () => diskLayout(guest, platformOf(guest), hostOf(rescue)),
    'INVALID_ARGUMENT',
    'hw_rescue_bus',
  );
});
