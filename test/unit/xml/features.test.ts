// Features and the clock: what depends on the guest's system and on KVM.
import { expect, it } from 'vitest';
import { clockElement } from '../../../src/libvirt/xml/clock.js';
import { featuresElement } from '../../../src/libvirt/xml/features.js';
import type { DomainHost } from '../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, lines, platformOf, type Words } from './support.js';

function features(facts: Partial<DomainHost>, extraSpecs: Words = {}, properties: Words = {}): string[] {
  const guest = guestOf(extraSpecs, properties);
  return lines(featuresElement(guest, platformOf(guest, facts)));
}

function clock(facts: Partial<DomainHost>, properties: Words = {}): string[] {
  const guest = guestOf({}, properties);
  return lines(clockElement(guest, platformOf(guest, facts)));
}

it('has ACPI where the architecture has it', () => {
  expect(features({})).toEqual(['<features>', '  <acpi/>', '  <apic/>', '</features>']);
  expect(features({ architecture: 'aarch64' })).toEqual(['<features>', '  <acpi/>', '</features>']);
  expect(features({ architecture: 's390x' })).toEqual([]);
});

it("shows Hyper-V's interfaces to Windows under KVM only", () => {
  const windows = { os_type: 'Windows' };
  expect(features({ virtType: 'kvm' }, {}, windows)).toContain("    <spinlocks state='on' retries='8191'/>");
  expect(features({ virtType: 'qemu' }, {}, windows).join()).not.toContain('hyperv');
  expect(features({ virtType: 'kvm' }).join()).not.toContain('hyperv');
});

it('hides the hypervisor where flavor or image ask', () => {
  const hidden = "    <hidden state='on'/>";
  expect(features({ virtType: 'kvm' }, { 'hw:hide_hypervisor_id': 'true' })).toContain(hidden);
  expect(features({ virtType: 'kvm' }, { hide_hypervisor_id: 'true' })).toContain(hidden);
  const windows = features({ virtType: 'kvm' }, {}, { img_hide_hypervisor_id: 'true', os_type: 'windows' });
  expect(windows).toContain(hidden);
  expect(windows).toContain("    <vendor_id state='on' value='1234567890ab'/>");
  expect(features({ virtType: 'qemu' }, { 'hw:hide_hypervisor_id': 'true' }).join()).not.toContain('hidden');
});

it('switches the PMU as told', () => {
  expect(features({}, { 'hw:pmu': 'true' })).toContain("  <pmu state='on'/>");
  expect(features({}, {}, { hw_pmu: 'no' })).toContain("  <pmu state='off'/>");
  expectRefusal(
    () => features({}, { 'hw:pmu': 'true' }, { hw_pmu: 'no' }),
    'FLAVOR_IMAGE_CONFLICT',
    'hw:pmu',
    'hw_pmu',
  );
});

it('keeps UTC, for Windows local time, and has no HPET unless asked', () => {
  expect(clock({})).toEqual(["<clock offset='utc'>", "  <timer name='hpet' present='no'/>", '</clock>']);
  expect(clock({}, { hw_time_hpet: 'true' })[1]).toBe("  <timer name='hpet' present='yes'/>");
  expect(clock({ architecture: 'aarch64' })).toEqual(["<clock offset='utc'/>"]);
  expect(clock({ virtType: 'kvm' }, { os_type: 'windows' })).toEqual([
    "<clock offset='localtime'>",
    "  <timer name='pit' tickpolicy='delay'/>",
    "  <timer name='rtc' tickpolicy='catchup'/>",
    "  <timer name='hpet' present='no'/>",
    "  <timer name='hypervclock' present='yes'/>",
    '</clock>',
  ]);
  expectRefusal(
    () => clock({}, { os_type: 'beos' }),
    'INVALID_ARGUMENT',
    'os_type',
    'beos',
    'linux, windows',
  );
});
