// The disk element.
import { expect, it } from 'vitest';
import { diskElement } from '../../../../src/libvirt/xml/devices/disk.js';
import { diskLayout } from '../../../../src/libvirt/xml/devices/disk-layout.js';
import type { DomainHost } from '../../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from '../support.js';

function disk(extraSpecs: Words = {}, properties: Words = {}, facts: Partial<DomainHost> = {}): string[] {
  const guest = guestOf(extraSpecs, properties);
  const host = hostOf(facts);
  const [root] = diskLayout(guest, platformOf(guest, facts), host);
  return root ? lines(diskElement(root, guest, host)) : [];
}

it('names the format, goes past the page cache and gives freed blocks back', () => {
  expect(disk()).toEqual([
    "<disk type='file' device='disk'>",
    "  <driver name='qemu' type='qcow2' cache='none' io='threads' discard='unmap'/>",
    "  <source file='/i/disk'/>",
    "  <target dev='vda' bus='virtio'/>",
    '</disk>',
  ]);
});

it.each(['writeback', 'unsafe', 'writethrough', 'directsync'] as const)(
  'takes no native AIO, whatever the cache: %s',
  (diskCache) => {
    expect(disk({}, {}, { diskCache, diskFormat: 'raw' })[1]).toBe(
      `  <driver name='qemu' type='raw' cache='${diskCache}' io='threads' discard='unmap'/>`,
    );
  },
);

it.each([
  ['virtio', 'vda'],
  ['scsi', 'sda'],
  ['sata', 'sda'],
  ['usb', 'sda'],
  ['ide', 'hda'],
])('is named after its bus: %s', (bus, target) => {
  expect(disk({}, { hw_disk_bus: bus })).toContain(`  <target dev='${target}' bus='${bus}'/>`);
});

it('packs the ring of virtio only', () => {
  expect(disk({ 'hw:virtio_packed_ring': 'true' })[1]).toContain("packed='on'");
  expect(disk({ 'hw:virtio_packed_ring': 'true' }, { hw_disk_bus: 'sata' })[1]).not.toContain('packed');
});

it('limits what the flavor limits', () => {
  const limited = disk({ 'quota:disk_read_bytes_sec': '1024', 'quota:disk_total_iops_sec': '50' });
  expect(limited.slice(4, -1)).toEqual([
    '  <iotune>',
    '    <read_bytes_sec>1024</read_bytes_sec>',
    '    <total_iops_sec>50</total_iops_sec>',
    '  </iotune>',
  ]);
});

it('refuses buses of other hypervisors and IDE where there is none', () => {
  expectRefusal(() => disk({}, { hw_disk_bus: 'xen' }), 'UNSUPPORTED', 'hw_disk_bus', 'xen');
  expectRefusal(() => disk({}, { hw_disk_bus: 'nvme' }), 'INVALID_ARGUMENT', 'hw_disk_bus', 'nvme', 'virtio');
  expectRefusal(
    () => disk({}, { hw_disk_bus: 'ide', hw_machine_type: 'q35' }),
    'INVALID_ARGUMENT',
    'hw_disk_bus',
  );
});
