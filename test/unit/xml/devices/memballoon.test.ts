// The memory balloon.
import { expect, it } from 'vitest';
import { memballoonElement } from '../../../../src/libvirt/xml/devices/memballoon.js';
import { guestOf, hostOf, lines } from '../support.js';

it('reports every ten seconds, or is not there', () => {
  expect(lines(memballoonElement(guestOf(), hostOf()))[1]).toBe("  <stats period='10'/>");
  expect(lines(memballoonElement(guestOf(), hostOf({ memoryStatsPeriodSeconds: 0 })))).toEqual([
    "<memballoon model='none'/>",
  ]);
});
