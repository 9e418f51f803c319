// VNC.
import { expect, it } from 'vitest';
import { graphicsElement } from '../../../../src/libvirt/xml/devices/graphics.js';
import { hostOf, lines } from '../support.js';

it('listens where the host says, and nowhere unless it says so', () => {
  expect(lines(graphicsElement(hostOf()))).toEqual([]);
  expect(lines(graphicsElement(hostOf({ vncListen: '127.0.0.1' })))).toEqual([
    "<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'>",
    "  <listen type='address' address='127.0.0.1'/>",
    '</graphics>',
  ]);
});
