// A guest under a network filter of libvirt's: it is heard by its own address alone. On a private libvirtd.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import type { Instance, Vif } from '../../src/driver/model.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { GuestConsole } from '../support/guest-console.js';
import { TestHost } from '../support/host.js';

const FILTER = 'own-address';
/** What clean-traffic has at its heart; the package with libvirt's own filters need not be there. */
const FILTER_XML = `<filter name='${FILTER}' chain='root'>
  <rule action='drop' direction='out' priority='-700'><mac match='no' srcmacaddr='$MAC'/></rule>
  <rule action='drop' direction='out' priority='-600'><ip match='no' srcipaddr='$IP'/></rule>
</filter>`;

const missing = ['ebtables', 'iptables'].find((program) => spawnSync(program, ['--version']).error);

if (missing === undefined) describe('a guest with a network filter', defineTests);
else {
  it('a guest with a network filter', ({ skip }) => {
    skip(`${missing}, which libvirt makes network filters with, is not installed`);
  });
}

function defineTests(): void {
  const host = new TestHost();
  const instances: Instance[] = [];
  const consoles: GuestConsole[] = [];
  let daemon: PrivateLibvirtd;
  let driver: LibvirtDriver;

  beforeAll(async () => {
    daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
    const path = join(host.directory, 'filter.xml');
    writeFileSync(path, FILTER_XML);
    daemon.virsh('nwfilter-define', path);
    driver = new LibvirtDriver({ instancesPath: host.instancesPath, uri: daemon.uri });
    await driver.initHost();
    for (const [index, filter] of [undefined, FILTER].entries()) {
      const instance = host.instance();
      const addresses = [{ address: `10.98.0.${index + 1}`, prefixLength: 24 }];
      const vif: Vif = { ...(instance.vifs[0] as Vif), addresses, ...(filter && { filter }) };
      instances.push({ ...instance, vifs: [vif] });
      await driver.spawn(instances[index] as Instance);
    }
    consoles.push(...(await GuestConsole.openAll(driver, host, instances, '10.98.0')));
  }, 300_000);

  afterAll(async () => {
    for (const console of consoles) console.close();
    for (const instance of instances) await driver.destroy(instance);
    await driver.close();
    daemon.stop();
    host.dispose();
  }, 120_000);

  it('is heard by its own address, and not by another', async () => {
    const [, filtered] = consoles as [GuestConsole, GuestConsole];
    expect(await filtered.reaches('10.98.0.1')).toBe(true);
    await filtered.setAddress('eth0', '10.98.0.77/24');
    expect(await filtered.reaches('10.98.0.1')).toBe(false);
    await filtered.setAddress('eth0', '10.98.0.2/24');
    expect(await filtered.reaches('10.98.0.1')).toBe(true);
  }, 90_000);

  it('is not heard by another MAC address; one without a filter is', async () => {
    const [free, filtered] = consoles as [GuestConsole, GuestConsole];
    const setMac = (mac: string) =>
      `ip link set eth0 down && ip link set eth0 address ${mac} && ip link set eth0 up`;
    await filtered.run(setMac('fa:16:3e:77:77:77'));
    expect(await filtered.reaches('10.98.0.1')).toBe(false);
    await filtered.run(setMac(instances[1]?.vifs[0]?.mac ?? ''));
    expect(await filtered.reaches('10.98.0.1')).toBe(true);
    await free.run(setMac('fa:16:3e:77:77:78'));
    expect(await free.reaches('10.98.0.2')).toBe(true);
  }, 90_000);

  it("has the driver's filter where it names none, and none is started without it", async () => {
    const { instancesPath } = host;
    for (const [vifFilter, code] of [
      [FILTER, undefined],
      ['no-such-filter', 'UNSUPPORTED'],
    ] as const) {
      await using other = new LibvirtDriver({ instancesPath, uri: daemon.uri, vifFilter });
      await other.initHost();
      const instance = host.instance();
      if (code === undefined) {
        await other.spawn(instance);
        expect(daemon.virsh('dumpxml', instance.name)).toContain(`<filterref filter='${FILTER}'`);
        await other.destroy(instance);
      } else await expect(other.spawn(instance)).rejects.toMatchObject({ code });
      expect(host.leftovers(instance)).toEqual([]);
    }
  }, 90_000);
}
