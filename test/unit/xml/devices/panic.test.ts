// The device that says that the guest's kernel panics.
import { expect, it } from 'vitest';
import { panicElement } from '../../../../src/libvirt/xml/devices/panic.js';
import { guestOf, lines, platformOf } from '../support.js';

it('is there where the image asks for it, by the name that its architecture has', () => {
  expect(lines(panicElement(guestOf(), platformOf(guestOf())))).toEqual([]);
  const guest = guestOf({}, { hw_panic_device: 'yes' });
  const on = (architecture: string) =>
    lines(panicElement(guest, { ...platformOf(guest), architecture: architecture as never }));
  expect(on('x86_64')).toEqual(["<panic model='isa'/>"]);
  expect(on('s390x')).toEqual(["<panic model='s390'/>"]);
  expect(on('ppc64le')).toEqual(["<panic model='pseries'/>"]);
  expect(() => on('aarch64')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
});
