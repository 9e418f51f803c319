// The watchdog.
import { expect, it } from 'vitest';
import { watchdogElement } from '../../../../src/libvirt/xml/devices/watchdog.js';
import { expectRefusal, guestOf, lines, platformOf, type Words } from '../support.js';

function watchdog(extraSpecs: Words, properties: Words = {}): string[] {
  const guest = guestOf(extraSpecs, properties);
  return lines(watchdogElement(guest, platformOf(guest)));
}

it('does what the image says, else the flavor', () => {
  expect(watchdog({})).toEqual([]);
  expect(watchdog({ 'hw:watchdog_action': 'reset' })).toEqual([
    "<watchdog model='i6300esb' action='reset'/>",
  ]);
  expect(watchdog({ 'hw:watchdog_action': 'reset' }, { hw_watchdog_action: 'none' })).toEqual([
    "<watchdog model='i6300esb' action='none'/>",
  ]);
  expect(watchdog({ 'hw:watchdog_action': 'reset' }, { hw_watchdog_action: 'disabled' })).toEqual([]);
});

it('refuses an action that is none', () => {
  expectRefusal(
    () => watchdog({ 'hw:watchdog_action': 'bark' }),
    'INVALID_ARGUMENT',
    'hw:watchdog_action',
    'bark',
    'poweroff',
  );
});
