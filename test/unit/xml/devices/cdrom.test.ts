// The CD-ROM element.
import { expect, it } from 'vitest';
import { cdromElement } from '../../../../src/libvirt/xml/devices/cdrom.js';
import { guestOf, hostOf, lines } from '../support.js';

it('is read only and frees nothing', () => {
  const disk = { device: 'cdrom', path: '/i/disk.config', format: 'raw', bus: 'ide', target: 'hda' } as const;
  expect(lines(cdromElement(disk, guestOf(), hostOf()))).toEqual([
    "<disk type='file' device='cdrom'>",
    "  <driver name='qemu' type='raw' cache='none' io='threads'/>",
    "  <source file='/i/disk.config'/>",
    "  <target dev='hda' bus='ide'/>",
    '  <readonly/>',
    '</disk>',
  ]);
});
