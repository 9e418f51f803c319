// Which disks there are and how they are named.
import { expect, it } from 'vitest';
import { diskLayout } from '../../../../src/libvirt/xml/devices/disk-layout.js';
import type { DomainHost } from '../../../../src/libvirt/xml/host.js';
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

it('puts each disk over its own base, of which only that of the root disk may be qcow2', () => {
  const guest = guestOf({}, {}, { ephemeralGb: 1, swapMb: 64 });
  const bases = { backingPath: '/b/image', ephemeralBackingPath: '/b/eph', swapBackingPath: '/b/swap' };
  const backings = (facts: Partial<DomainHost>): unknown[] =>
    diskLayout(guest, platformOf(guest), hostOf({ ...files, ...facts })).map(({ backing }) => backing);
  expect(backings({ ...bases, backingFormat: 'qcow2' })).toEqual([
    { path: '/b/image', format: 'qcow2' },
    { path: '/b/eph', format: 'raw' },
    { path: '/b/swap', format: 'raw' },
    undefined,
  ]);
  expect(backings({ backingPath: '/b/image' })[0]).toEqual({ path: '/b/image', format: 'raw' });
  expect(backings({ diskFormat: 'raw' })).toEqual([undefined, undefined, undefined, undefined]);
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
