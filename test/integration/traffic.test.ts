// Frames between real guests: on one bridge, on two, over a cable between two interfaces of the host, and in its VLANs.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Instance, Vif } from '../../src/driver/model.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { networkFeatures } from '../../src/network/features.js';
import { hostLinks } from '../../src/network/links.js';
import { tapName } from '../../src/network/names.js';
import { GuestConsole } from '../support/guest-console.js';
import { TestHost } from '../support/host.js';

const ADDRESSES = ['10.99.0.1', '10.99.0.2', '10.99.0.3'] as const;

describe('guests', () => {
  const host = new TestHost();
  const driver = new LibvirtDriver(host.options());
  const bridges = { here: `${host.bridge}a`, there: `${host.bridge}b` };
  /** Two interfaces of the host, as two network cards on one switch are. */
  const cable = { here: `ca${process.pid}`, there: `cb${process.pid}` };
  const instances: Instance[] = [];
  const consoles: GuestConsole[] = [];
  const guest = (index: number): GuestConsole => consoles[index] as GuestConsole;

  function makeGuest(bridge: string, mtu?: number): Instance {
    const instance = host.instance({
      flavor: { name: 'two', vcpus: 2, memoryMb: 128, rootGb: 1, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
    });
    const [vif] = instance.vifs;
    const image = { ...instance.image, properties: { hw_vif_multiqueue_enabled: 'yes' } };
    return { ...instance, image, vifs: [{ ...(vif as Vif), bridge, ...(mtu !== undefined && { mtu }) }] };
  }

  beforeAll(async () => {
    execFileSync('ip', ['link', 'add', cable.here, 'type', 'veth', 'peer', 'name', cable.there]);
    await driver.initHost();
    for (const bridge of [bridges.here, bridges.here, bridges.there]) {
      const instance = makeGuest(bridge, 1400);
      await driver.spawn(instance);
      instances.push(instance);
    }
    consoles.push(...(await GuestConsole.openAll(driver, host, instances, '10.99.0')));
  }, 300_000);

  afterAll(async () => {
    for (const console of consoles) console.close();
    for (const instance of instances) await driver.destroy(instance);
    await driver.close();
    const left = [...Object.values(bridges), ...instances.flatMap(({ vifs }) => vifs.map(({ tap }) => tap))];
    expect(left.filter((name) => existsSync(`/sys/class/net/${name}`))).toEqual([]);
    // Their interfaces are the host's own.
    expect(Object.values(cable).filter((name) => existsSync(`/sys/class/net/${name}`))).toHaveLength(2);
    execFileSync('ip', ['link', 'delete', cable.here]);
    host.dispose();
  }, 120_000);

  it('on one bridge reach each other, on two they do not', async () => {
    expect(await guest(0).reaches(ADDRESSES[1])).toBe(true);
    expect(await guest(0).reaches(ADDRESSES[2])).toBe(false);
    expect(await guest(2).reaches(ADDRESSES[0])).toBe(false);
  }, 60_000);

  it('have the MTU of their network, on host and guest, and a queue for each vCPU', async () => {
    const [{ vifs } = { vifs: [] }] = instances;
    const { tap = '' } = vifs[0] ?? {};
    expect((await hostLinks.getLink(tap))?.mtu).toBe(1400);
    expect((await hostLinks.getLink(bridges.here))?.mtu).toBe(1400);
    expect((await guest(0).run('grep -x 1400 /sys/class/net/eth0/mtu')).status).toBe(0);
    const queues = readdirSync(`/sys/class/net/${tap}/queues`);
    expect(queues.filter((name) => name.startsWith('tx'))).toHaveLength(2);
    expect((await guest(0).run('ls -d /sys/class/net/eth0/queues/tx-1')).status).toBe(0);
  }, 60_000);

  it('reach each other again when a tap that lost its bridge is plugged again', async () => {
    const [, second] = instances as [Instance, Instance];
    execFileSync('ip', ['link', 'set', second.vifs[0]?.tap ?? '', 'nomaster']);
    expect(await guest(0).reaches(ADDRESSES[1])).toBe(false);
    await driver.plugVifs(second);
    expect(await guest(0).reaches(ADDRESSES[1])).toBe(true);
  }, 60_000);

  it('on two bridges reach each other over interfaces of the host that are joined, as on two hosts', async () => {
    for (const [index, side] of [0, 1, 2].map((one) => [one, one < 2 ? 'here' : 'there'] as const)) {
      const instance = instances[index] as Instance;
      const vifs = instance.vifs.map((vif) => ({ ...vif, physicalInterface: cable[side] }));
      instances[index] = { ...instance, vifs };
      await driver.plugVifs({ ...instance, vifs });
    }
    expect((await hostLinks.getLink(cable.here))?.master).toBe(bridges.here);
    expect(await guest(0).reaches(ADDRESSES[2])).toBe(true);
    expect(await guest(2).reaches(ADDRESSES[1])).toBe(true);
    // A whole frame: no part of the way has a smaller MTU.
    expect(await guest(0).reaches(ADDRESSES[2], '-s 1372')).toBe(true);
  }, 60_000);

  it('of one VLAN reach each other over the same cable, those of two do not', async ({ skip }) => {
    if (!(await networkFeatures())?.vlan) skip('this kernel has no 802.1Q VLANs (CONFIG_VLAN_8021Q)');
    const join = async (index: number, side: 'here' | 'there', vlan: number): Promise<void> => {
      const id = randomUUID();
      const bridge = `brq${id.slice(0, 11)}`;
      const mac = `fa:16:3e:99:${String(vlan).slice(-2)}:0${index}`;
      const vif: Vif = { id, mac, bridge, tap: tapName(id), physicalInterface: cable[side], vlan };
      const instance = instances[index] as Instance;
      await driver.attachInterface(instance, vif);
      const vifs = [...instance.vifs, vif];
      instances[index] = { ...instance, vifs };
      await host.sees(instance.uuid, 'its interface', ({ macs }) => macs.length === vifs.length);
      const device = `eth${vifs.length - 1}`;
      await guest(index).run(`ip link set ${device} up`);
      await guest(index).setAddress(device, `10.${vlan}.0.${index + 1}/24`);
    };
    await join(0, 'here', 101);
    await join(2, 'there', 101);
    expect(await guest(0).reaches('10.101.0.3')).toBe(true);
    await join(1, 'here', 102);
    await guest(1).setAddress('eth1', '10.101.0.2/24');
    expect(await guest(1).reaches('10.101.0.3')).toBe(false);
  }, 120_000);
});
