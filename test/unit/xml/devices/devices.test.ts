// All devices together.
import { expect, it } from 'vitest';
import { devicesElement } from '../../../../src/libvirt/xml/devices/devices.js';
import type { DomainHost } from '../../../../src/libvirt/xml/host.js';
import { guestOf, hostOf, instanceOf, lines, platformOf, type Words } from '../support.js';

function devices(properties: Words, facts: Partial<DomainHost> = {}): string[] {
  const guest = guestOf({}, properties);
  const element = devicesElement(instanceOf({}, properties), guest, platformOf(guest, facts), hostOf(facts));
  return lines(element).filter((line) => /^ {2}<\w/.test(line));
}

it('is lean by default: a disk, a serial port, a balloon, random numbers', () => {
  expect(devices({})).toEqual([
    "  <disk type='file' device='disk'>",
    "  <controller type='usb' index='0' model='none'/>",
    "  <serial type='pty'>",
    "  <console type='pty'>",
    "  <memballoon model='virtio'>",
    "  <rng model='virtio'>",
  ]);
});

it('leaves the USB controller to libvirt where a device needs it', () => {
  expect(devices({ hw_disk_bus: 'usb' }).join()).not.toContain("model='none'");
  expect(devices({ hw_pointer_model: 'usbtablet' }).join()).not.toContain("model='none'");
});

it('names the emulator for guests of its architecture only', () => {
  const emulator = '/usr/bin/qemu-system-x86_64';
  expect(devices({}, { emulator })[0]).toBe(`  <emulator>${emulator}</emulator>`);
  expect(devices({ hw_architecture: 'i686' }, { emulator })[0]).not.toContain('emulator');
});
