// Names as Neutron gives them, and only those that kernel and libvirt take.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkBridgeName,
  checkFilterName,
  checkMac,
  checkMtu,
  checkTapName,
  DEFAULT_BRIDGE,
  generateMac,
  networkBridgeName,
  subInterfaceName,
  tapName,
} from '../../../src/network/names.js';

const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' });

describe("a network's names", () => {
  it("are Neutron's", () => {
    expect(networkBridgeName('1B9D6BCD-bbfd-4b2d-9b5d-ab8dfbbd4bed')).toBe('brq1b9d6bcd-bb');
    expect(subInterfaceName('eth1', 101)).toBe('eth1.101');
    expect(subInterfaceName('enp129s0f0', 4094)).toBe('enp129s0f0.4094');
  });

  it('fit a link however long the interface is named, and differ with it', () => {
    const name = subInterfaceName('enp129s0f0np0', 4094);
    expect(name).toMatch(/^enp1[0-9a-f]{6}\.4094$/);
    expect(subInterfaceName('enp129s0f1np0', 4094)).not.toBe(name);
    expect(subInterfaceName('enp129s0f0np0', 7)).toBe('enp129s0f0np0.7');
  });

  it.each(['', 'network', '../../x', '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed\n'])('refuse %j', (id) => {
    expect(() => networkBridgeName(id)).toThrow(refused);
  });

  it.each(['', '-x', "a' onload", '<x/>', 'a/b', 'x'.repeat(65)])('refuse the filter %j', (name) => {
    expect(() => checkFilterName(name)).toThrow(refused);
  });
});

describe('tapName', () => {
  it("is Neutron's: tap and the first 11 characters of the port's id", () => {
    expect(tapName('1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed')).toBe('tap1b9d6bcd-bb');
    expect(tapName('1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED')).toBe('tap1b9d6bcd-bb');
  });

  it('is always a name that a link can have', () => {
    fc.assert(fc.property(fc.uuid(), (id) => checkTapName(tapName(id)).length === 14));
  });

  it.each([
    '',
    'port',
    '../../../etc/passwd',
    '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed\n',
    '1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed',
  ])('refuses %j, which is no UUID', (id) => {
    expect(() => tapName(id)).toThrow(refused);
  });
});

describe('link names', () => {
  it.each([DEFAULT_BRIDGE, 'br0', 'virbr0', 'br-ex.100', 'x', 'fifteen-bytes-x'])('take %j', (name) => {
    expect(checkBridgeName(name)).toBe(name);
    expect(checkTapName(name)).toBe(name);
  });

  it.each([
    '',
    '.',
    '..',
    '-x',
    'a/b',
    'a b',
    'a\tb',
    'br0\n',
    'a:1',
    'tap%d',
    'br\0',
    'brücke',
    'sixteen-bytes-xx',
  ])('refuse %j', (name) => {
    expect(() => checkBridgeName(name)).toThrow(refused);
    expect(() => checkTapName(name)).toThrow(refused);
  });
});

describe('MAC addresses', () => {
  it('are told in lower case', () => {
    expect(checkMac('FA:16:3E:AB:CD:EF')).toBe('fa:16:3e:ab:cd:ef');
  });

  it.each([
    'fa:16:3e:ab:cd',
    'fa-16-3e-ab-cd-ef',
    'fa:16:3e:ab:cd:eg',
    'fa:16:3e:ab:cd:ef\n',
    '01:00:5e:00:00:01',
    'ff:ff:ff:ff:ff:ff',
    '00:00:00:00:00:00',
    'fe:16:3e:ab:cd:ef',
  ])('refuse %j', (mac) => {
    expect(() => checkMac(mac)).toThrow(refused);
  });

  it("are made under Neutron's prefix and never one that is taken", () => {
    const taken = new Set<string>();
    for (let i = 0; i < 1000; i += 1) {
      const mac = generateMac(taken);
      expect(mac).toMatch(/^fa:16:3e(:[0-9a-f]{2}){3}$/);
      expect(checkMac(mac)).toBe(mac);
      expect(taken.has(mac)).toBe(false);
      taken.add(mac);
    }
  });
});

describe('MTUs', () => {
  it.each([0, 68, 1400, 1500, 9000, 65535])('take %d', (mtu) => {
    expect(checkMtu(mtu)).toBe(mtu);
  });

  it.each([-1, 1, 67, 65536, 1500.5, Number.NaN, Number.POSITIVE_INFINITY])('refuse %d', (mtu) => {
    expect(() => checkMtu(mtu)).toThrow(refused);
  });
});
