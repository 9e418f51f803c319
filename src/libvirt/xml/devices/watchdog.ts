// The watchdog.
import { element, type XmlElement } from '../element.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';

/** Undefined where neither image nor flavor names an action. */
export function watchdogElement(guest: Guest, platform: Platform): XmlElement | undefined {
  if (guest.watchdog === undefined) return undefined;
  const model = platform.architecture === 's390x' ? 'diag288' : 'i6300esb';
  return element('watchdog', { model, action: guest.watchdog });
}
