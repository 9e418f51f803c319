// Random numbers for the guest.
import { element, textElement, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import type { Guest } from '../vocabulary/guest.js';

/** Undefined where the flavor forbids it. */
export function rngElement(guest: Guest, host: HostFacts): XmlElement | undefined {
  if (guest.rng === undefined) return undefined;
  const { bytes, periodMs } = guest.rng;
  return element('rng', { model: 'virtio' }, [
    guest.packedRing ? element('driver', { packed: 'on' }) : undefined,
    bytes === undefined ? undefined : element('rate', { bytes, period: periodMs }),
    textElement('backend', host.rngDevice ?? '/dev/urandom', { model: 'random' }),
  ]);
}
