// The memory balloon: how the host learns what memory the guest uses.
import { element, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import type { Guest } from '../vocabulary/guest.js';

/** Without reports there is no balloon: memory is never taken back from a guest. */
export function memballoonElement(guest: Guest, host: HostFacts): XmlElement {
  const period = host.memoryStatsPeriodSeconds ?? 10;
  if (period === 0) return element('memballoon', { model: 'none' });
  return element('memballoon', { model: 'virtio' }, [
    element('stats', { period }),
    guest.packedRing ? element('driver', { packed: 'on' }) : undefined,
  ]);
}
