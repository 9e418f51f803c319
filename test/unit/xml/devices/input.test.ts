// Pointer and keyboard.
import { expect, it } from 'vitest';
import { inputElements } from '../../../../src/libvirt/xml/devices/input.js';
import type { DomainHost } from '../../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from '../support.js';

function inputs(properties: Words, facts: Partial<DomainHost> = {}): string[] {
  const guest = guestOf({}, properties);
  return lines(...inputElements(guest, platformOf(guest, facts), hostOf(facts)));
}

it('adds a tablet only where the image asks', () => {
  expect(inputs({}, { vncListen: '127.0.0.1' })).toEqual([]);
  expect(inputs({ hw_pointer_model: 'usbtablet' })).toEqual(["<input type='tablet' bus='usb'/>"]);
  expect(inputs({ hw_pointer_model: 'usbtablet', hw_input_bus: 'virtio' })).toEqual([
    "<input type='tablet' bus='virtio'/>",
  ]);
  expectRefusal(
    () => inputs({ hw_pointer_model: 'ps2mouse' }),
    'INVALID_ARGUMENT',
    'hw_pointer_model',
    'usbtablet',
  );
});

it('adds a keyboard to VNC where the machine has none', () => {
  expect(inputs({}, { vncListen: '::1', architecture: 'aarch64' })).toEqual([
    "<input type='keyboard' bus='usb'/>",
  ]);
});
