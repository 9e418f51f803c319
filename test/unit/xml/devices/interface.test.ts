// The network interface.
import { expect, it } from 'vitest';
import type { Vif } from '../../../../src/driver/model.js';
import { interfaceElement } from '../../../../src/libvirt/xml/devices/interface.js';
import { expectRefusal, guestOf, lines, platformOf, type Words } from '../support.js';

const vif = { id: 'port', mac: 'fa:16:3e:00:00:01', bridge: 'br-lan', tap: 'tap0' };

function nic(extraSpecs: Words = {}, properties: Words = {}, mtu?: number): string[] {
  const guest = guestOf(extraSpecs, properties);
  return lines(interfaceElement(mtu === undefined ? vif : { ...vif, mtu }, guest, platformOf(guest)));
}

it('plugs a tap of our name into the bridge', () => {
  expect(nic({}, {}, 1450)).toEqual([
    "<interface type='bridge'>",
    "  <mac address='fa:16:3e:00:00:01'/>",
    "  <source bridge='br-lan'/>",
    "  <target dev='tap0'/>",
    "  <model type='virtio'/>",
    "  <mtu size='1450'/>",
    '</interface>',
  ]);
});

it('has a queue for each vCPU where asked, on virtio only', () => {
  const on = { 'hw:vif_multiqueue_enabled': 'true' };
  expect(nic(on)).toContain("  <driver queues='4'/>");
  expect(nic(on, { hw_vif_model: 'e1000' }).join()).not.toContain('driver');
  expect(nic({}, { hw_vif_multiqueue_enabled: 'yes' })).toContain("  <driver queues='4'/>");
  expectRefusal(
    () => nic(on, { hw_vif_multiqueue_enabled: 'no' }),
    'FLAVOR_IMAGE_CONFLICT',
    'hw_vif_multiqueue_enabled',
  );
});

it('names who moves the frames of several queues where that is known, and keeps to the most queues', () => {
  const guest = guestOf({ 'hw:vif_multiqueue_enabled': 'true' });
  const driver = (host: Parameters<typeof interfaceElement>[3], virtType: 'kvm' | 'qemu') =>
    lines(interfaceElement(vif, guest, platformOf(guest, { virtType }), host))[5];
  expect(driver({ vhostNet: true }, 'kvm')).toBe("  <driver name='vhost' queues='4'/>");
  expect(driver({ vhostNet: true }, 'qemu')).toBe("  <driver name='qemu' queues='4'/>");
  expect(driver({ vhostNet: false }, 'kvm')).toBe("  <driver name='qemu' queues='4'/>");
  expect(driver({ maxQueues: 3 }, 'kvm')).toBe("  <driver queues='3'/>");
  expect(driver({ maxQueues: 1, vhostNet: true }, 'kvm')).not.toContain('driver');
});

it("has the filter that it names, else the host's, with its addresses", () => {
  const guest = guestOf({}, {});
  const filtered = (more: Partial<Vif>, vifFilter?: string): string[] =>
    lines(interfaceElement({ ...vif, ...more }, guest, platformOf(guest), { vifFilter })).slice(5, -1);
  const addresses = [
    { address: '192.0.2.7', prefixLength: 24 },
    { address: '2001:db8::7', prefixLength: 64 },
  ];
  expect(filtered({ addresses })).toEqual([]);
  expect(filtered({}, 'clean-traffic')).toEqual(["  <filterref filter='clean-traffic'/>"]);
  expect(filtered({ addresses, filter: 'no-ip-spoofing' }, 'clean-traffic')).toEqual([
    "  <filterref filter='no-ip-spoofing'>",
    "    <parameter name='IP' value='192.0.2.7'/>",
    "    <parameter name='IPV6' value='2001:db8::7'/>",
    '  </filterref>',
  ]);
});

it('limits bandwidth in both directions', () => {
  const limits = {
    'quota:vif_inbound_average': '100',
    'quota:vif_inbound_peak': '200',
    'quota:vif_inbound_burst': '50',
    'quota:vif_outbound_average': '10',
  };
  expect(nic(limits).slice(5, -1)).toEqual([
    '  <bandwidth>',
    "    <inbound average='100' peak='200' burst='50'/>",
    "    <outbound average='10'/>",
    '  </bandwidth>',
  ]);
  expectRefusal(
    () => nic({ 'quota:vif_inbound_peak': '1' }),
    'INVALID_ARGUMENT',
    'quota:vif_inbound_average',
  );
});

it.each(['e1000', 'e1000e', 'igb', 'rtl8139', 'ne2k_pci', 'pcnet', 'vmxnet3', 'lan9118'])(
  'takes the model %s',
  (model) => {
    expect(nic({}, { hw_vif_model: model.toUpperCase() })).toContain(`  <model type='${model}'/>`);
  },
);

it('refuses models that QEMU lacks', () => {
  for (const model of ['netfront', 'sriov', 'VirtualVmxnet', 'spapr-vlan']) {
    expectRefusal(() => nic({}, { hw_vif_model: model }), 'UNSUPPORTED', 'hw_vif_model');
  }
  expectRefusal(() => nic({}, { hw_vif_model: 'ne1' }), 'INVALID_ARGUMENT', 'hw_vif_model', 'ne1', 'virtio');
});
