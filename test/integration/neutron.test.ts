// What Neutron binds to a host, plugged in there: Open vSwitch as far as the definition, Linux bridges under a real guest.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { PrivateNeutron } from '../../scripts/private-neutron.mjs';
import { type CachedVif, networkInfo } from '../../src/agent/neutron/network-info.js';
import { Neutron } from '../../src/agent/neutron/neutron.js';
import { vifRequest } from '../../src/agent/neutron/vif-request.js';
import { ComputeNode } from '../../src/index.js';
import { hostLinks } from '../../src/network/links.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const obstacle = PrivateNeutron.obstacle();
const directory = mkdtempSync(join(tmpdir(), 'node-compute-neutron-'));
let service: PrivateNeutron;
let neutron: Neutron;

beforeAll(async () => {
  if (obstacle) return;
  service = await PrivateNeutron.start(directory, { bridges: 'bridge', switches: 'ovs' });
  neutron = new Neutron({ endpoint: service.url }, new AbortController().signal);
});

beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));

afterAll(async () => {
  await neutron?.close();
  await service?.stop();
  rmSync(directory, { recursive: true });
});

async function bound(hostName: string): Promise<CachedVif> {
  const owner = { tenant_id: 'demo' };
  const network = { ...owner, name: 'net' };
  const made = (await service.call('POST', '/networks', { network })) as { network: { id: string } };
  const { id: network_id } = made.network;
  const subnet = { ...owner, network_id, cidr: '10.9.0.0/24', ip_version: 4 };
  await service.call('POST', '/subnets', { subnet });
  const port = await neutron.createPort({ ...owner, network_id, 'binding:host_id': hostName });
  const [vif] = await networkInfo(neutron, [port], { ovsBridge: 'br-int', given: new Set() });
  return vif as CachedVif;
}

it('to a host of Open vSwitch a port of its bridge', async () => {
  const vif = await bound('switches');
  expect(vif).toMatchObject({ type: 'ovs', ovs_interfaceid: vif.id, network: { bridge: 'br-int' } });
  expect(vifRequest(vif)).toMatchObject({ bridge: 'br-int', virtualPort: 'openvswitch', mtu: 1450 });
});

it('to a host of Linux bridges a tap on that of its network, before a guest of the real hypervisor runs', async () => {
  const vif = await bound('bridges');
  const uuid = randomUUID();
  const host = new TestHost();
  const bridge = `brq${vif.network.id.slice(0, 11)}`;
  try {
    await using node = await ComputeNode.open({
      driver: 'libvirt.LibvirtDriver',
      driverOptions: { root: host.root },
      instancesPath: host.instancesPath,
    });
    let seen: unknown;
    const beforeRun = async (): Promise<void> => {
      seen = [(await node.get(uuid)).powerState, await hostLinks.listBridgePorts(bridge)];
    };
    const launch = {
      uuid,
      name: 'guest',
      flavor: { vcpus: 1, memoryMb: 160, rootGb: 1 },
      image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
      networks: [vifRequest(vif)],
    } as const;
    await node.launch(launch, { beforeRun });
    expect(seen).toEqual(['paused', [`tap${vif.id.slice(0, 11)}`]]);
    expect((await node.get(uuid)).powerState).toBe('running');
    expect((await hostLinks.getLink(bridge))?.mtu).toBe(1450);
    await node.terminate(uuid);
    expect(await hostLinks.getLink(bridge)).toBeUndefined();
  } finally {
    host.dispose();
  }
});
