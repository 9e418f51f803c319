// Serial ports and console.
import { expect, it } from 'vitest';
import { serialElements } from '../../../../src/libvirt/xml/devices/serial.js';
import type { DomainHost } from '../../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from '../support.js';

function serial(extraSpecs: Words = {}, properties: Words = {}, facts: Partial<DomainHost> = {}): string[] {
  const guest = guestOf(extraSpecs, properties);
  return lines(...serialElements(guest, platformOf(guest, facts), hostOf(facts)));
}

it('appends the first port to the console log', () => {
  expect(serial()).toEqual([
    "<serial type='pty'>",
    "  <log file='/i/console.log' append='on'/>",
    "  <target port='0'/>",
    '</serial>',
    "<console type='pty'>",
    "  <log file='/i/console.log' append='on'/>",
    "  <target type='serial' port='0'/>",
    '</console>',
  ]);
});

it('lets the image lower the number of ports, never raise it', () => {
  const ports = (text: string[]): number => text.filter((line) => line.startsWith('<serial')).length;
  expect(ports(serial({ 'hw:serial_port_count': '3' }, { hw_serial_port_count: '2' }))).toBe(2);
  expect(ports(serial({ 'hw:serial_port_count': '3' }))).toBe(3);
  expect(serial({ 'hw:serial_port_count': '0' })).toEqual([]);
  const more = (): unknown => serial({ 'hw:serial_port_count': '1' }, { hw_serial_port_count: '2' });
  expectRefusal(more, 'FLAVOR_IMAGE_CONFLICT', 'hw_serial_port_count');
});

it('refuses more ports than the machine has', () => {
  expectRefusal(() => serial({ 'hw:serial_port_count': '5' }), 'UNSUPPORTED', 'hw:serial_port_count');
  const arm = { architecture: 'aarch64' } as const;
  expectRefusal(
    () => serial({ 'hw:serial_port_count': '2' }, {}, arm),
    'UNSUPPORTED',
    'hw:serial_port_count',
  );
});

it('is a SCLP console on s390x', () => {
  expect(serial({}, {}, { architecture: 's390x' })[2]).toBe("  <target type='sclp' port='0'/>");
});
