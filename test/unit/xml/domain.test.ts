// The whole document: identity, order, determinism.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { domainXml } from '../../../src/libvirt/xml/domain.js';
import { expectRefusal, hostOf, instanceOf } from './support.js';

it('is the same for the same instance, in any order of its words', () => {
  const words = { 'hw:pmu': 'no', 'quota:cpu_shares': '512', hw_x: '1' };
  const turned = Object.fromEntries(Object.entries(words).reverse());
  expect(domainXml(instanceOf(turned), hostOf())).toBe(domainXml(instanceOf(words), hostOf()));
});

it('is named as the instance, with memory in KiB', () => {
  const text = domainXml(instanceOf(), hostOf());
  expect(text).toContain(
    '\n  <name>instance-00000001</name>\n  <uuid>7d1f2c3b-4a5e-4f60-8a9b-0c1d2e3f4a5b</uuid>\n',
  );
  expect(text).toContain("<memory unit='KiB'>1048576</memory>");
  expect(text).toContain('<on_poweroff>destroy</on_poweroff>');
  expect(text).toContain('<on_reboot>restart</on_reboot>');
  expect(text).toContain('<on_crash>destroy</on_crash>');
});

it('has no setting of KVM under emulation', () => {
  const words = { 'hw:hide_hypervisor_id': 'true' };
  const windows = { os_type: 'windows' };
  const text = domainXml(instanceOf(words, windows), hostOf({ cpuMode: 'host-passthrough' }));
  expect(text).toContain("<domain type='qemu'>");
  expect(text).not.toMatch(/<kvm>|hyperv|host-passthrough|host-model|name='pit'/);
});

it.each(['', 'a/b', 'a\nb', ' a', 'x'.repeat(256), "a'/>"])('refuses the name %j', (name) => {
  expectRefusal(() => domainXml({ ...instanceOf(), name }, hostOf()), 'INVALID_ARGUMENT', 'name');
});

it.each(['', '7D1F2C3B-4A5E-4F60-8A9B-0C1D2E3F4A5B', '../../etc'])('refuses the uuid %j', (uuid) => {
  expectRefusal(() => domainXml({ ...instanceOf(), uuid }, hostOf()), 'INVALID_ARGUMENT', 'uuid');
});

it('never lets a value become an element', () => {
  const hostile = fc.constantFrom("'/><disk", '</name><qemu:commandline>', '"&<>', ']]>', '<!-- ', '<?x?>');
  fc.assert(
    fc.property(hostile, hostile, hostile, (displayName, flavorName, path) => {
      const instance = instanceOf();
      const text = domainXml(
        { ...instance, displayName, flavor: { ...instance.flavor, name: flavorName } },
        hostOf({ diskPath: path, consoleLogPath: path, packageVersion: path }),
      );
      expect(text.match(/<[a-z]/gi)).toEqual(domainXml(instance, hostOf()).match(/<[a-z]/gi));
    }),
  );
});
