// The random number device.
import { expect, it } from 'vitest';
import { rngElement } from '../../../../src/libvirt/xml/devices/rng.js';
import { expectRefusal, guestOf, hostOf, lines, type Words } from '../support.js';

const rng = (extraSpecs: Words, properties: Words = {}): string[] =>
  lines(rngElement(guestOf(extraSpecs, properties), hostOf()));

it('is there unless the flavor forbids it', () => {
  expect(rng({})).toEqual([
    "<rng model='virtio'>",
    "  <backend model='random'>/dev/urandom</backend>",
    '</rng>',
  ]);
  expect(rng({ 'hw_rng:allowed': 'False' })).toEqual([]);
});

it('is limited by the flavor', () => {
  expect(rng({ 'hw_rng:rate_bytes': '64', 'hw_rng:rate_period': '100' })[1]).toBe(
    "  <rate bytes='64' period='100'/>",
  );
  expect(rng({ 'hw_rng:rate_bytes': '64' })[1]).toBe("  <rate bytes='64'/>");
  expect(rng({ 'hw_rng:rate_period': '100' }).length).toBe(3);
});

it('refuses what it does not understand', () => {
  expectRefusal(
    () => rng({ 'hw_rng:allowed': 'perhaps' }),
    'INVALID_ARGUMENT',
    'hw_rng:allowed',
    'perhaps',
    'true',
  );
  expectRefusal(() => rng({}, { hw_rng_model: 'egd' }), 'INVALID_ARGUMENT', 'hw_rng_model', 'virtio');
});
