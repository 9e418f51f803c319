// CPU limits and pinning.
import { expect, it } from 'vitest';
import { cputuneElement } from '../../../src/libvirt/xml/cputune.js';
import type { CpuPinning, DomainHost } from '../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from './support.js';

function cputune(extraSpecs: Words, facts: Partial<DomainHost> = {}): string[] {
  const guest = guestOf(extraSpecs);
  platformOf(guest, facts);
  return lines(cputuneElement(guest, hostOf(facts)));
}

const pinned = (pinning: CpuPinning): Partial<DomainHost> => ({ pinning });

it('limits shares, period and quota', () => {
  expect(cputune({})).toEqual([]);
  expect(
    cputune({ 'quota:cpu_shares': '2048', 'quota:cpu_period': '100000', 'quota:cpu_quota': '-5' }),
  ).toEqual([
    '<cputune>',
    '  <shares>2048</shares>',
    '  <period>100000</period>',
    '  <quota>-1</quota>',
    '</cputune>',
  ]);
});

it('refuses limits where the host has no CPU cgroup, and those the kernel refuses', () => {
  const none = { cpuTune: false };
  expectRefusal(
    () => cputune({ 'quota:cpu_shares': '2' }, none),
    'UNSUPPORTED',
    'quota:cpu_shares',
    'cgroup',
  );
  expectRefusal(() => cputune({ 'quota:cpu_quota': '2000' }, none), 'UNSUPPORTED', 'quota:cpu_quota');
  expectRefusal(() => cputune({ 'quota:cpu_shares': '1' }), 'INVALID_ARGUMENT', 'quota:cpu_shares');
  expectRefusal(() => cputune({ 'quota:cpu_period': '999' }), 'INVALID_ARGUMENT', 'quota:cpu_period');
  expectRefusal(() => cputune({ 'quota:cpu_quota': '999' }), 'INVALID_ARGUMENT', 'quota:cpu_quota');
  expectRefusal(() => cputune({ 'quota:cpu_shares': '1e3' }), 'INVALID_ARGUMENT', 'quota:cpu_shares', '1e3');
});

it('pins dedicated vCPUs to the host CPUs that the caller gives', () => {
  expect(cputune({ 'hw:cpu_policy': 'dedicated' }, pinned({ dedicated: [8, 9, 10, 11] }))).toEqual([
    '<cputune>',
    "  <vcpupin vcpu='0' cpuset='8'/>",
    "  <vcpupin vcpu='1' cpuset='9'/>",
    "  <vcpupin vcpu='2' cpuset='10'/>",
    "  <vcpupin vcpu='3' cpuset='11'/>",
    "  <emulatorpin cpuset='8-11'/>",
    '</cputune>',
  ]);
});

it('lets the others of a mixed instance float over the shared ones', () => {
  const mixed = { 'hw:cpu_policy': 'mixed', 'hw:cpu_dedicated_mask': '1,3' };
  expect(cputune(mixed, pinned({ dedicated: [8, 9], shared: [0, 1, 2, 5] })).slice(1, -1)).toEqual([
    "  <vcpupin vcpu='0' cpuset='0-2,5'/>",
    "  <vcpupin vcpu='1' cpuset='8'/>",
    "  <vcpupin vcpu='2' cpuset='0-2,5'/>",
    "  <vcpupin vcpu='3' cpuset='9'/>",
    "  <emulatorpin cpuset='0-2,5'/>",
  ]);
});

it('schedules real-time vCPUs first in, first out', () => {
  const realtime = { 'hw:cpu_policy': 'dedicated', 'hw:cpu_realtime': 'yes', 'hw:cpu_realtime_mask': '^0' };
  expect(cputune(realtime, pinned({ dedicated: [4, 5, 6, 7] }))).toContain(
    "  <vcpusched vcpus='1-3' scheduler='fifo' priority='1'/>",
  );
});

it('refuses dedicated CPUs that nobody has set aside', () => {
  expectRefusal(() => cputune({ 'hw:cpu_policy': 'dedicated' }), 'UNSUPPORTED', 'hw:cpu_policy', 'dedicated');
  const few = pinned({ dedicated: [1] });
  expectRefusal(
    () => cputune({ 'hw:cpu_policy': 'dedicated' }, few),
    'INVALID_ARGUMENT',
    'pinning.dedicated',
  );
  const isolate = { 'hw:cpu_policy': 'dedicated', 'hw:emulator_threads_policy': 'isolate' };
  expectRefusal(
    () => cputune(isolate, pinned({ dedicated: [1, 2, 3, 4] })),
    'UNSUPPORTED',
    'hw:emulator_threads_policy',
  );
  expect(cputune(isolate, pinned({ dedicated: [1, 2, 3, 4], emulator: [0] }))).toContain(
    "  <emulatorpin cpuset='0'/>",
  );
});
