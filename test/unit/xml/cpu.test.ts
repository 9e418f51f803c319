// CPU mode, topology and guest NUMA.
import { expect, it } from 'vitest';
import { cpuElement, vcpuElement } from '../../../src/libvirt/xml/cpu.js';
import type { DomainHost } from '../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from './support.js';

function cpu(facts: Partial<DomainHost> = {}, extraSpecs: Words = {}, properties: Words = {}): string[] {
  const guest = guestOf(extraSpecs, properties);
  return lines(cpuElement(guest, platformOf(guest, facts), hostOf(facts)));
}

it.each([
  [{}, '<cpu>'],
  [{ cpuMode: 'host-passthrough' }, "<cpu mode='maximum'>"],
  [{ cpuMode: 'host-model' }, "<cpu mode='maximum'>"],
  [{ cpuMode: 'maximum' }, "<cpu mode='maximum'>"],
  [{ cpuModel: 'Nehalem' }, "<cpu mode='custom' match='exact'>"],
  [{ architecture: 'aarch64' }, "<cpu mode='maximum'>"],
  [{ virtType: 'kvm' }, "<cpu mode='host-model'>"],
  [{ virtType: 'kvm', architecture: 'aarch64' }, "<cpu mode='host-passthrough'>"],
  [{ virtType: 'kvm', cpuMode: 'host-passthrough' }, "<cpu mode='host-passthrough'>"],
  [{ virtType: 'kvm', cpuMode: 'none' }, '<cpu>'],
] as const)('takes the mode of the host, never the host itself under emulation: %j', (facts, first) => {
  expect(cpu(facts)[0]).toBe(first);
});

it('names the model and lets libvirt not replace it', () => {
  expect(cpu({ cpuModel: 'Nehalem' })[1]).toBe("  <model fallback='forbid'>Nehalem</model>");
  expectRefusal(() => cpu({ cpuMode: 'custom' }), 'INVALID_ARGUMENT', 'cpuModel');
});

it('has cells with their CPUs and memory', () => {
  const cells = {
    'hw:numa_nodes': '2',
    'hw:numa_cpus.0': '0,2-3',
    'hw:numa_mem.0': '512',
    'hw:numa_cpus.1': '1',
    'hw:numa_mem.1': '512',
  };
  expect(cpu({}, cells).slice(2, -1)).toEqual([
    '  <numa>',
    "    <cell id='0' cpus='0,2-3' memory='524288' unit='KiB'/>",
    "    <cell id='1' cpus='1' memory='524288' unit='KiB'/>",
    '  </numa>',
  ]);
});

it('limits physical addresses where there is a CPU model', () => {
  const emulate = { 'hw:maxphysaddr_mode': 'emulate', 'hw:maxphysaddr_bits': '40' };
  expect(cpu({ cpuMode: 'maximum' }, emulate)).toContain("  <maxphysaddr mode='emulate' bits='40'/>");
  expectRefusal(() => cpu({}, emulate), 'UNSUPPORTED', 'hw:maxphysaddr_mode');
  expectRefusal(
    () => cpu({}, { 'hw:maxphysaddr_mode': 'emulate' }),
    'INVALID_ARGUMENT',
    'hw:maxphysaddr_bits',
  );
  expectRefusal(() => cpu({}, { 'hw:maxphysaddr_bits': '40' }), 'INVALID_ARGUMENT', 'hw:maxphysaddr_mode');
  const both = { 'hw:maxphysaddr_mode': 'passthrough', 'hw:maxphysaddr_bits': '40' };
  expectRefusal(() => cpu({}, both), 'INVALID_ARGUMENT', 'hw:maxphysaddr_bits');
});

it('has the number of vCPUs of the flavor', () => {
  expect(lines(vcpuElement(guestOf()))).toEqual(["<vcpu placement='static'>4</vcpu>"]);
});
