// The channel to the guest agent.
import { element, type XmlElement } from '../element.js';
import type { Guest } from '../vocabulary/guest.js';

/** Undefined where the image has no agent. The socket lies where libvirt puts it. */
export function agentChannelElement(guest: Guest): XmlElement | undefined {
  if (!guest.guestAgent) return undefined;
  return element('channel', { type: 'unix' }, [
    element('target', { type: 'virtio', name: 'org.qemu.guest_agent.0' }),
  ]);
}
