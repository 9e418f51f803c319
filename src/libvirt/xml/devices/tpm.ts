// An emulated TPM; its state lies where libvirt puts it.
import { element, type XmlElement } from '../element.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import { unsupportedTerm } from '../vocabulary/rule.js';

/** Undefined where nobody asks for it. */
export function tpmElement(guest: Guest, platform: Platform): XmlElement | undefined {
  if (guest.tpm === undefined) return undefined;
  const { model, version } = guest.tpm;
  if (platform.architecture === 's390x' || platform.architecture === 'riscv64') {
    throw unsupportedTerm('hw:tpm_version', version, `not on ${platform.architecture}`);
  }
  return element('tpm', { model }, [element('backend', { type: 'emulator', version })]);
}
