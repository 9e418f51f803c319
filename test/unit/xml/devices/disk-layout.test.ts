// Which disks there are and how they are named.
import { expect, it } from 'vitest';
import { diskLayout } from '../../../../src/libvirt/xml/devices/disk-layout.js';
import { resolveGuest } from '../../../../src/libvirt/xml/vocabulary/guest.js';
import { expectRefusal, flavorOf, guestOf, hostOf, imageOf, platformOf } from '../support.js';

const files = { ephemeralPath: '/i/disk.local', swapPath: '/i/disk.swap', configDrivePath: '/i/disk.config' };

it('orders root, ephemeral, swap and config drive, each bus with names of its own', () => {
  const guest = guestOf({}, {}, { ephemeralGb: 1, swapMb: 64 });
  const layout = diskLayout(guest, platformOf(guest), hostOf(files));
  expect(layout.map((disk) => [disk.path, disk.device, disk.target, disk.bus, disk.format])).toEqual([
    ['/i/disk', 'disk', 'vda', 'virtio', 'qcow2'],
    ['/i/disk.local', 'disk', 'vdb', 'virtio', 'qcow2'],
    ['/i/disk.swap', 'disk', 'vdc', 'virtio', 'qcow2'],
    ['/i/disk.config', 'cdrom', 'hda', 'ide', 'raw'],
  ]);
});

it('numbers buses that share a prefix together', () => {
  const guest = guestOf({}, { hw_disk_bus: 'scsi', hw_cdrom_bus: 'sata' });
  const layout = diskLayout(guest, platformOf(guest), hostOf(files));
  expect(layout.map((disk) => disk.target)).toEqual(['sda', 'sdb']);
});

it('shows an ISO image as a CD-ROM', () => {
  const guest = resolveGuest(flavorOf(), imageOf({}, 'iso'));
  const [root] = diskLayout(guest, platformOf(guest, { machine: 'q35' }), hostOf());
  expect(root).toMatchObject({ device: 'cdrom', bus: 'sata', target: 'sda' });
});

it('refuses disks the host did not make', () => {
  const check = (guest: ReturnType<typeof guestOf>): unknown =>
    diskLayout(guest, platformOf(guest), hostOf());
  expectRefusal(() => check(guestOf({}, {}, { ephemeralGb: 1 })), 'UNSUPPORTED', 'ephemeralGb');
  expectRefusal(() => check(guestOf({}, {}, { swapMb: 1 })), 'UNSUPPORTED', 'swapMb');
  expectRefusal(
    () => check(guestOf({}, { img_config_drive: 'mandatory' })),
    'UNSUPPORTED',
    'img_config_drive',
  );
  expectRefusal(() => check(guestOf({}, { hw_cdrom_bus: 'virtio' })), 'INVALID_ARGUMENT', 'hw_cdrom_bus');
});
