// Pointer and keyboard.
import { element, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import { isX86 } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';

/** A tablet where the image asks for one; a keyboard beside VNC where the machine has none of its own. */
export function inputElements(guest: Guest, platform: Platform, host: HostFacts): XmlElement[] {
  const elements: XmlElement[] = [];
  if (guest.pointerBus !== undefined)
    elements.push(element('input', { type: 'tablet', bus: guest.pointerBus }));
  if (host.vncListen !== undefined && !isX86(platform.architecture)) {
    const bus = guest.pointerBus ?? (platform.architecture === 's390x' ? 'virtio' : 'usb');
    elements.push(element('input', { type: 'keyboard', bus }));
  }
  return elements;
}
