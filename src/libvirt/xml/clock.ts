// The clock element: what the guest's clock shows and which timers it has.
import { element, type XmlElement } from './element.js';
import { isX86 } from './host.js';
import type { Platform } from './platform.js';
import type { Guest } from './vocabulary/guest.js';

/** Windows keeps local time in its clock. HPET is off unless asked for: it costs the host wake-ups. */
export function clockElement(guest: Guest, platform: Platform): XmlElement {
  const windows = guest.osType === 'windows';
  const kvm = platform.virtType === 'kvm';
  const x86 = isX86(platform.architecture);
  return element('clock', { offset: windows ? 'localtime' : 'utc' }, [
    kvm && x86 ? element('timer', { name: 'pit', tickpolicy: 'delay' }) : undefined,
    kvm && x86 ? element('timer', { name: 'rtc', tickpolicy: 'catchup' }) : undefined,
    x86 ? element('timer', { name: 'hpet', present: guest.hpet ? 'yes' : 'no' }) : undefined,
    kvm && x86 && windows ? element('timer', { name: 'hypervclock', present: 'yes' }) : undefined,
  ]);
}
