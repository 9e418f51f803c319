// The info cache of an instance is what Nova itself makes of the same Neutron; test/agent/README.md says of which.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { networkInfo } from '../../../src/agent/neutron/network-info.js';
import type { Filters, Neutron } from '../../../src/agent/neutron/neutron.js';
import type { FloatingIp, Network, Port, Subnet } from '../../../src/agent/neutron/resources.js';

interface Recorded {
  readonly ports: readonly Port[];
  readonly dhcpPorts: readonly Port[];
  readonly networks: readonly Network[];
  readonly subnets: readonly Subnet[];
  readonly floatingIps: readonly FloatingIp[];
  readonly given: readonly string[];
  readonly networkInfo: readonly { readonly id: string }[];
}

const recorded: Recorded = JSON.parse(
  readFileSync(new URL('../../agent/traces/zed-network-info.json', import.meta.url), 'utf8'),
);

/** As it was asked then. */
const neutron = {
  ports: async (filters: Filters) => {
    expect(filters).toMatchObject({ device_owner: 'network:dhcp' });
    return recorded.dhcpPorts;
  },
  networks: async ({ id }: Filters) => recorded.networks.filter((one) => id?.includes(one.id)),
  subnets: async (ids: readonly string[]) => recorded.subnets.filter(({ id }) => ids.includes(id)),
  floatingIps: async () => recorded.floatingIps,
} as Partial<Neutron> as Neutron;

it('is that of Nova: bridge, Open vSwitch, unbound; both versions of IP, DHCP, routes, floating addresses', async () => {
  const options = { ovsBridge: 'br-int', given: new Set(recorded.given) };
  const vifs = await networkInfo(neutron, recorded.ports, options);
  expect(JSON.parse(JSON.stringify(vifs))).toEqual(recorded.networkInfo);
  expect(vifs.map(({ type, active }) => [type, active])).toEqual([
    ['bridge', false],
    ['ovs', false],
    ['binding_failed', true],
  ]);
});

it('asks nothing for no port', async () => {
  const nobody = {} as Neutron;
  expect(await networkInfo(nobody, [], { ovsBridge: 'br-int', given: new Set() })).toEqual([]);
});
