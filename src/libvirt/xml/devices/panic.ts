// The device by which a guest's kernel says that it panics: pvpanic on x86.
import { element, type XmlElement } from '../element.js';
import { isX86 } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import { unsupportedTerm } from '../vocabulary/rule.js';

/**
 * Undefined where the image does not ask for it, as most should not: a guest that says that it panics is stopped
 * (on_crash), and one that does not may boot again by itself.
 */
export function panicElement(guest: Guest, { architecture }: Platform): XmlElement | undefined {
  if (!guest.panicDevice) return undefined;
  if (isX86(architecture)) return element('panic', { model: 'isa' });
  if (architecture === 's390x') return element('panic', { model: 's390' });
  if (architecture.startsWith('ppc64')) return element('panic', { model: 'pseries' });
  throw unsupportedTerm('hw_panic_device', 'true', `not on ${architecture}`);
}
