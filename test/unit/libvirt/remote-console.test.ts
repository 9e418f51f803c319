import { expect, it } from 'vitest';
import { endpointOf } from '../../../src/libvirt/remote-console.js';

const devices = (xml: string): string => `<domain><devices>${xml}</devices></domain>`;

it('reads VNC, SPICE with TLS and serial ports, each of its own type', () => {
  const xml = devices(`<graphics type='vnc' port='5901' autoport='yes' listen='::1'><listen/></graphics>
    <graphics type='spice' port='5902' tlsPort='5903' listen='0.0.0.0'/>
    <serial type='pty'><target port='0'/></serial>
    <serial type='tcp'><source mode='bind' host='127.0.0.1' service='10000'/></serial>`);
  expect(endpointOf(xml, 'vnc')).toEqual({ type: 'vnc', host: '::1', port: 5901 });
  expect(endpointOf(xml, 'spice')).toEqual({ type: 'spice', host: '0.0.0.0', port: 5902, tlsPort: 5903 });
  expect(endpointOf(xml, 'serial')).toEqual({ type: 'serial', host: '127.0.0.1', port: 10_000 });
});

it('has none where there is none, where the port is not chosen yet, and where a person wrote one', () => {
  expect(endpointOf(devices(''), 'vnc')).toBeUndefined();
  expect(endpointOf(devices(`<graphics type='vnc' port='-1' listen='127.0.0.1'/>`), 'vnc')).toBeUndefined();
  expect(
    endpointOf(`<domain><title><graphics type='vnc' port='1'/></title></domain>`, 'vnc'),
  ).toBeUndefined();
});
