// Machine type, firmware and what the host can't give.
import { expect, it } from 'vitest';
import type { DomainHost } from '../../../src/libvirt/xml/host.js';
import { osElement } from '../../../src/libvirt/xml/os.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from './support.js';

function os(facts: Partial<DomainHost> = {}, properties: Words = {}, extraSpecs: Words = {}): string[] {
  const guest = guestOf(extraSpecs, properties);
  return lines(osElement(guest, platformOf(guest, facts), hostOf(facts)));
}

const uefi = { hw_firmware_type: 'uefi' };

it('boots the hard disk with BIOS', () => {
  expect(os()).toEqual([
    '<os>',
    "  <type arch='x86_64' machine='pc'>hvm</type>",
    "  <boot dev='hd'/>",
    "  <smbios mode='sysinfo'/>",
    '</os>',
  ]);
});

it.each([
  [{}, {}, 'pc'],
  [{ machine: 'q35' }, {}, 'q35'],
  [{ machine: 'q35' }, { hw_machine_type: 'pc-i440fx-7.2' }, 'pc-i440fx-7.2'],
  [{}, uefi, 'q35'],
  [{ architecture: 'aarch64' }, {}, 'virt'],
  [{ architecture: 'riscv64' }, {}, 'virt'],
  [{ architecture: 'ppc64' }, {}, 'pseries'],
  [{ architecture: 's390x' }, {}, 's390-ccw-virtio'],
] as const)(
  "takes the image's machine type, the host's, or the architecture's: %j %j",
  (facts, properties, machine) => {
    expect(os(facts, properties)[1]).toContain(`machine='${machine}'`);
  },
);

it('leaves the choice of the UEFI image to libvirt', () => {
  expect(os({ nvramPath: '/i/nvram.fd' }, uefi).slice(0, -2)).toEqual([
    "<os firmware='efi'>",
    "  <type arch='x86_64' machine='q35'>hvm</type>",
    '  <firmware>',
    "    <feature enabled='no' name='enrolled-keys'/>",
    "    <feature enabled='no' name='secure-boot'/>",
    '  </firmware>',
    '  <nvram>/i/nvram.fd</nvram>',
    "  <boot dev='hd'/>",
  ]);
});

it('boots securely where flavor or image require it', () => {
  const secure = os({}, uefi, { 'os:secure_boot': 'required' });
  expect(secure).toContain("    <feature enabled='yes' name='secure-boot'/>");
  expect(secure).toContain("  <loader secure='yes'/>");
  const optional = { ...uefi, os_secure_boot: 'optional' };
  expect(os({}, optional)).not.toContain("  <loader secure='yes'/>");
  expect(os({ secureBoot: true }, optional)).toContain("  <loader secure='yes'/>");
});

it('refuses Secure Boot that can not be', () => {
  const required = { 'os:secure_boot': 'required' };
  expectRefusal(() => os({}, {}, required), 'INVALID_ARGUMENT', 'os:secure_boot', 'hw_firmware_type');
  expectRefusal(
    () => os({}, { ...uefi, hw_machine_type: 'pc' }, required),
    'UNSUPPORTED',
    'os:secure_boot',
    'q35',
  );
  expectRefusal(() => os({ secureBoot: false }, uefi, required), 'UNSUPPORTED', 'os:secure_boot');
  expectRefusal(
    () => os({}, { ...uefi, os_secure_boot: 'disabled' }, required),
    'FLAVOR_IMAGE_CONFLICT',
    'secure_boot',
  );
});

it('shows a boot menu where image or flavor ask, the image first', () => {
  const menu = "  <bootmenu enable='yes'/>";
  expect(os({}, {}, { 'hw:boot_menu': 'true' })).toContain(menu);
  expect(os({}, { hw_boot_menu: 'true' })).toContain(menu);
  expect(os({}, { hw_boot_menu: 'false' }, { 'hw:boot_menu': 'true' })).not.toContain(menu);
});

it('refuses what this host does not run', () => {
  expectRefusal(() => os({}, { hw_architecture: 'aarch64' }), 'UNSUPPORTED', 'hw_architecture', 'x86_64');
  expectRefusal(() => os({}, { hw_architecture: 'sparc' }), 'UNSUPPORTED', 'hw_architecture');
  expectRefusal(() => os({}, { hw_architecture: 'z80' }), 'INVALID_ARGUMENT', 'hw_architecture', 'z80');
  expectRefusal(
    () => os({}, { hw_emulation_architecture: 'aarch64' }),
    'UNSUPPORTED',
    'hw_emulation_architecture',
  );
  expectRefusal(() => os({}, { img_hv_type: 'kvm' }), 'UNSUPPORTED', 'img_hv_type');
  expectRefusal(() => os({}, { img_hv_type: 'vmware' }), 'UNSUPPORTED', 'img_hv_type');
  expectRefusal(() => os({}, { hw_vm_mode: 'pv' }), 'UNSUPPORTED', 'hw_vm_mode');
  expectRefusal(
    () => os({ architecture: 'aarch64' }, { hw_firmware_type: 'bios' }),
    'INVALID_ARGUMENT',
    'hw_firmware_type',
  );
  expectRefusal(() => os({ architecture: 's390x' }, uefi), 'UNSUPPORTED', 'hw_firmware_type');
  expectRefusal(() => os({}, { hw_machine_type: "pc'/>" }), 'INVALID_ARGUMENT', 'hw_machine_type');
  expect(os({ virtType: 'kvm' }, { img_hv_type: 'QEMU' })[1]).toContain('hvm');
});
