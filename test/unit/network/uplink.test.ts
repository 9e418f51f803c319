// Bridges that reach a physical network: which port, refused when the host would be lost, taken away only when it is ours.
import { describe, expect, it } from 'vitest';
import { Bridges } from '../../../src/network/bridges.js';
import { uplinkPort } from '../../../src/network/uplink.js';
import { FakeLinks } from './fake-links.js';

const eth1 = { physicalInterface: 'eth1' };
const vlan101 = { ...eth1, vlan: 101 };

function setUp(): { links: FakeLinks; bridges: Bridges } {
  const links = new FakeLinks();
  links.add('eth1', { kind: '', mtu: 1500 });
  return { links, bridges: new Bridges(links) };
}

const effects = ({ calls }: FakeLinks): string[] => calls.filter((call) => !call.startsWith('get'));

describe('a VLAN', () => {
  it('is a sub-interface on its bridge, which comes with the first user and goes with the last', async () => {
    const { links, bridges } = setUp();
    for (const user of ['a', 'b', 'a']) {
      await bridges.acquire('brq1', { user, mtu: 1400, uplink: vlan101 });
    }
    expect(links.links.get('eth1.101')).toMatchObject({ kind: 'vlan', master: 'brq1' });
    expect(effects(links).slice(0, 2)).toEqual(['ensure brq1', 'vlan eth1.101 brq1 1400']);
    expect(await bridges.release('brq1', 'a', vlan101)).toBe(false);
    expect(links.links.has('eth1.101')).toBe(true);
    expect(await bridges.release('brq1', 'b', vlan101)).toBe(true);
    expect([...links.links.keys()]).toEqual(['eth1']);
  });

  it('goes after a restart too, when its last port has gone', async () => {
    const { links, bridges } = setUp();
    await bridges.acquire('brq1', { user: 'a', uplink: vlan101 });
    links.ports.set('brq1', ['tap-old']);
    const later = new Bridges(links);
    expect(await later.release('brq1', 'a', vlan101)).toBe(false);
    expect(links.links.get('eth1.101')?.master).toBe('brq1');
    links.ports.clear();
    expect(await later.release('brq1', 'a', vlan101)).toBe(true);
    expect([...links.links.keys()]).toEqual(['eth1']);
  });

  it('that somebody else made stays, without our bridge', async () => {
    const { links, bridges } = setUp();
    links.add('eth1.101', { kind: 'vlan' });
    await bridges.acquire('brq1', { user: 'a', uplink: vlan101 });
    expect(await bridges.release('brq1', 'a', vlan101)).toBe(true);
    expect(links.links.get('eth1.101')).toMatchObject({ master: '', alias: '' });
  });

  it('is one network: not on a second bridge, and no bridge has two', async () => {
    const { links, bridges } = setUp();
    await bridges.acquire('brq1', { user: 'a', uplink: vlan101 });
    const failed = { code: 'NETWORK_FAILED' };
    await expect(bridges.acquire('brq2', { user: 'b', uplink: vlan101 })).rejects.toMatchObject(failed);
    expect(links.links.has('brq2')).toBe(false);
    expect(links.links.get('eth1.101')?.master).toBe('brq1');
    const other = { ...eth1, vlan: 102 };
    await expect(bridges.acquire('brq1', { user: 'b', uplink: other })).rejects.toMatchObject(failed);
    expect(links.links.has('eth1.102')).toBe(false);
    expect(bridges.users('brq1')).toEqual(['a']);
  });
});

describe('an interface', () => {
  it('joins the bridge and leaves it, and is never removed', async () => {
    const { links, bridges } = setUp();
    await bridges.acquire('brq1', { user: 'a', uplink: eth1 });
    expect(links.links.get('eth1')?.master).toBe('brq1');
    expect(await bridges.release('brq1', 'a', eth1)).toBe(true);
    expect(links.links.get('eth1')?.master).toBe('');
  });

  it('that has addresses is refused unless asked for', async () => {
    const { links, bridges } = setUp();
    links.addresses.set('eth1', ['192.0.2.1/24']);
    await expect(bridges.acquire('brq1', { user: 'a', uplink: eth1 })).rejects.toMatchObject({
      code: 'NETWORK_FAILED',
      message: expect.stringContaining('192.0.2.1/24'),
    });
    expect([...links.links.keys()]).toEqual(['eth1']);
    // Its sub-interface takes nothing from the host.
    await bridges.acquire('brq1', { user: 'a', uplink: vlan101 });
    await bridges.acquire('brq2', { user: 'a', uplink: { ...eth1, evenWithAddresses: true } });
    expect(links.links.get('eth1')?.master).toBe('brq2');
  });

  it('that is missing, or cannot carry the MTU, is refused, and nothing is left', async () => {
    const { links, bridges } = setUp();
    const none = { physicalInterface: 'eth9' };
    for (const uplink of [none, { ...none, vlan: 7 }]) {
      await expect(bridges.acquire('brq1', { user: 'a', uplink })).rejects.toThrow('no interface eth9');
    }
    for (const uplink of [eth1, vlan101]) {
      const call = bridges.acquire('brq1', { user: 'a', mtu: 9000, uplink });
      await expect(call).rejects.toThrow('ip link set eth1 mtu 9000');
    }
    expect([...links.links.keys()]).toEqual(['eth1']);
  });
});

it("an operator's bridge keeps its ports: what it shall reach must be one already", async () => {
  const { links, bridges } = setUp();
  links.add('br-ex');
  const refused = { code: 'NETWORK_FAILED', message: expect.stringContaining('not one of ours') };
  for (const uplink of [eth1, vlan101]) {
    await expect(bridges.acquire('br-ex', { user: 'a', uplink })).rejects.toMatchObject(refused);
  }
  links.add('eth1', { kind: '', master: 'br-ex' });
  await bridges.acquire('br-ex', { user: 'a', uplink: eth1 });
  expect(await bridges.release('br-ex', 'a', eth1)).toBe(false);
  expect(links.links.get('eth1')?.master).toBe('br-ex');
  expect(effects(links).filter((call) => !call.startsWith('ensure'))).toEqual([]);
});

it('an abort leaves neither bridge nor VLAN', async () => {
  const { links, bridges } = setUp();
  const controller = new AbortController();
  links.delay = async () => controller.abort();
  const call = bridges.acquire('brq1', { user: 'a', uplink: vlan101, signal: controller.signal });
  await expect(call).rejects.toMatchObject({ code: 'ABORTED' });
  await bridges.release('brq1', 'nobody');
  expect([...links.links.keys()]).toEqual(['eth1']);
});

it('names that are none reach no kernel', async () => {
  const { links, bridges } = setUp();
  const hostile = ['', '..', 'a/b', 'eth1;', '-eth1', 'eth%d', 'sixteen-bytes-xx', 'eth1\n', 'eth\0'];
  for (const physicalInterface of hostile) {
    const refused = { code: 'INVALID_ARGUMENT' };
    for (const uplink of [{ physicalInterface }, { physicalInterface, vlan: 1 }]) {
      await expect(bridges.acquire('brq1', { user: 'a', uplink })).rejects.toMatchObject(refused);
    }
  }
  for (const vlan of [0, -1, 4095, 1.5, Number.NaN]) {
    expect(() => uplinkPort({ ...eth1, vlan })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  }
  expect(links.calls).toEqual([]);
  expect(uplinkPort({ ...eth1, vlan: 4094 })).toBe('eth1.4094');
});
