// The TPM.
import { expect, it } from 'vitest';
import { tpmElement } from '../../../../src/libvirt/xml/devices/tpm.js';
import type { HostFacts } from '../../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, lines, platformOf, type Words } from '../support.js';

function tpm(extraSpecs: Words, properties: Words = {}, facts: Partial<HostFacts> = {}): string[] {
  const guest = guestOf(extraSpecs, properties);
  return lines(tpmElement(guest, platformOf(guest, facts)));
}

it('is emulated', () => {
  expect(tpm({})).toEqual([]);
  expect(tpm({ 'hw:tpm_version': '2.0' }, { hw_tpm_model: 'tpm-crb' })).toEqual([
    "<tpm model='tpm-crb'>",
    "  <backend type='emulator' version='2.0'/>",
    '</tpm>',
  ]);
  expect(tpm({}, { hw_tpm_version: '1.2' })[0]).toBe("<tpm model='tpm-tis'>");
});

it('refuses what does not go together', () => {
  expectRefusal(() => tpm({ 'hw:tpm_model': 'tpm-tis' }), 'INVALID_ARGUMENT', 'hw:tpm_version');
  expectRefusal(
    () => tpm({ 'hw:tpm_version': '1.2', 'hw:tpm_model': 'tpm-crb' }),
    'INVALID_ARGUMENT',
    'hw:tpm_model',
  );
  expectRefusal(
    () => tpm({ 'hw:tpm_version': '3.0' }),
    'INVALID_ARGUMENT',
    'hw:tpm_version',
    '3.0',
    '1.2, 2.0',
  );
  expectRefusal(
    () => tpm({ 'hw:tpm_version': '1.2' }, { hw_tpm_version: '2.0' }),
    'FLAVOR_IMAGE_CONFLICT',
    'tpm_version',
  );
  expectRefusal(
    () => tpm({ 'hw:tpm_version': '2.0' }, {}, { swtpm: false }),
    'UNSUPPORTED',
    'hw:tpm_version',
    'swtpm',
  );
});
