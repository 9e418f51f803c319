// The guest agent's channel.
import { expect, it } from 'vitest';
import { agentChannelElement } from '../../../../src/libvirt/xml/devices/channel.js';
import { guestOf, lines } from '../support.js';

it('is there where the image has an agent', () => {
  expect(lines(agentChannelElement(guestOf()))).toEqual([]);
  expect(lines(agentChannelElement(guestOf({}, { hw_qemu_guest_agent: 'yes' })))).toEqual([
    "<channel type='unix'>",
    "  <target type='virtio' name='org.qemu.guest_agent.0'/>",
    '</channel>',
  ]);
});
