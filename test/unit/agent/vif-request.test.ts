// What Neutron binds, as the interface that the node is asked for.
import { describe, expect, it } from 'vitest';
import type { CachedVif, VifSubnet } from '../../../src/agent/neutron/network-info.js';
import { networkWish } from '../../../src/agent/neutron/network-wish.js';
import { vifRequest } from '../../../src/agent/neutron/vif-request.js';
import { NovaObject } from '../../../src/agent/nova-object.js';

const PORT = '0e7c1d3a-54a1-4a0e-9d0f-6f2f6a5f9b11';
const NETWORK = '5f0c8c1e-7d0f-4c7e-9a35-0d6b7a1c2e3f';
const ip = (address: string | null, type: string): VifSubnet['gateway'] => ({
  address,
  type,
  version: 4,
  meta: {},
});

function subnet(fields: Partial<VifSubnet> = {}): VifSubnet {
  return {
    cidr: '192.0.2.0/24',
    dns: [ip('192.0.2.53', 'dns')],
    gateway: ip('192.0.2.1', 'gateway'),
    ips: [{ ...ip('192.0.2.7', 'fixed'), floating_ips: [] }],
    routes: [],
    version: 4,
    meta: {},
    ...fields,
  };
}

function vif(fields: Partial<CachedVif> = {}, subnets: readonly VifSubnet[] = [subnet()]): CachedVif {
  return {
    id: PORT,
    address: 'fa:16:3e:0a:0b:0c',
    network: { id: NETWORK, bridge: 'brq5f0c8c1e-7d', label: 'net', subnets, meta: { mtu: 1450 } },
    type: 'bridge',
    details: {},
    vnic_type: 'normal',
    active: false,
    preserve_on_delete: false,
    ...fields,
  };
}

const common = { portId: PORT, mac: 'fa:16:3e:0a:0b:0c', bridge: 'brq5f0c8c1e-7d', mtu: 1450 };
const address = { address: '192.0.2.7', prefixLength: 24, gateway: '192.0.2.1' };

describe('the interface of a port', () => {
  it('has the addresses of its subnets, unless all of them are served', () => {
    const served = { meta: { dhcp_server: '192.0.2.2' } };
    const six = subnet({
      cidr: '2001:db8::/64',
      dns: [],
      gateway: ip(null, 'gateway'),
      ips: [{ ...ip('2001:db8::7', 'fixed'), floating_ips: [] }],
    });
    expect(vifRequest(vif())).toEqual({ ...common, addresses: [address], dnsServers: ['192.0.2.53'] });
    expect(vifRequest(vif({}, [subnet(served)]))).toEqual({ ...common, dnsServers: ['192.0.2.53'] });
    expect(vifRequest(vif({}, [subnet(served), six])).addresses).toEqual([
      address,
      { address: '2001:db8::7', prefixLength: 64 },
    ]);
  });

  it('is a port of Open vSwitch where Neutron says so', () => {
    const network = { ...vif().network, bridge: 'br-int' };
    expect(vifRequest(vif({ type: 'ovs', network }))).toMatchObject({
      bridge: 'br-int',
      virtualPort: 'openvswitch',
    });
  });

  it.each([
    ['binding_failed', {}, 'NETWORK_FAILED'],
    ['unbound', {}, 'NETWORK_FAILED'],
    [null, {}, 'NETWORK_FAILED'],
    ['vhostuser', {}, 'UNSUPPORTED'],
    ['hw_veb', { vnic_type: 'direct' }, 'UNSUPPORTED'],
    ['bridge', { vnic_type: 'macvtap' }, 'UNSUPPORTED'],
    ['ovs', { details: { ovs_hybrid_plug: true } }, 'UNSUPPORTED'],
  ])('is refused for %s %j', (type, more, code) => {
    expect(() => vifRequest(vif({ type, ...more }))).toThrow(expect.objectContaining({ code }));
  });
});

describe('the networks that a message asks for', () => {
  const wish = (...requests: readonly object[]): unknown =>
    networkWish(
      requests.map((fields) =>
        NovaObject.create({ name: 'NetworkRequest', version: '1.3', fields: { ...fields } }),
      ),
    );

  it('are none, any, one that is made, or those that it names', () => {
    expect(wish({ network_id: 'none', port_id: null })).toBe('none');
    expect(wish({ network_id: 'auto' })).toBe('auto');
    expect(wish({ network_id: null, port_id: null, address: null })).toBe('any');
    expect(networkWish(null)).toBe('any');
    expect(wish({ network_id: NETWORK, address: '192.0.2.7' }, { port_id: PORT })).toEqual([
      { networkId: NETWORK, address: '192.0.2.7' },
      { portId: PORT },
    ]);
  });

  it.each([
    [{ network_id: `${NETWORK}/../x` }, 'INVALID_ARGUMENT'],
    [{ address: '192.0.2.7' }, 'INVALID_ARGUMENT'],
    [{ port_id: '../networks' }, 'INVALID_ARGUMENT'],
    [{ network_id: NETWORK, tag: 'nic' }, 'UNSUPPORTED'],
    [{ network_id: NETWORK, pci_request_id: PORT }, 'UNSUPPORTED'],
    [{ network_id: NETWORK, arq_uuid: PORT }, 'UNSUPPORTED'],
  ])('are refused as %j', (fields, code) => {
    expect(() => wish(fields)).toThrow(expect.objectContaining({ code }));
    expect(() => wish({ network_id: 'none' }, { network_id: NETWORK })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});
