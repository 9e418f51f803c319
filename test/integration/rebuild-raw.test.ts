// A rebuild after the kind of disks was changed, which only a driver with other options makes: an embedded root of its own.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { eventually, type GuestReport, TestHost } from '../support/host.js';

const GIB = 1024 ** 3;

it('are raw beside a preserved overlay, and rescue as raw ones', async () => {
  const host = new TestHost();
  const plain = host.instance();
  const instance = { ...plain, flavor: { ...plain.flavor, ephemeralGb: 1 } };
  const { uuid } = instance;
  const boots = async (count: number): Promise<(string | number)[]> => {
    const line = await eventually('the guest to boot', 150_000, () =>
      host
        .consoleText(uuid)
        .split('NODE-COMPUTE-GUEST {"event":"BOOTED"')
        [count]?.match(/^.*\}(?=\r?\n)/),
    );
    const { disks } = JSON.parse(`{"event":"BOOTED"${line[0]}`) as GuestReport;
    return disks.map(({ bytes, content }) => content?.label ?? bytes);
  };
  try {
    {
      await using driver = new LibvirtDriver(host.options({ vncListen: '' }));
      await driver.initHost();
      await driver.spawn(instance);
      expect(await boots(1)).toEqual([GIB, 'ephemeral0']);
    }
    await using driver = new LibvirtDriver(host.options({ vncListen: '', images: { imagesType: 'raw' } }));
    await driver.initHost();
    await driver.rebuild(instance, instance.image, { preserveEphemeral: true });
    expect(await boots(2)).toEqual([GIB, 'ephemeral0']);
    const kinds = JSON.parse(readFileSync(`${host.instancesPath}/${uuid}/disk.info`, 'utf8'));
    expect(kinds).toMatchObject({ disk: { format: 'raw' }, 'disk.local': { format: 'qcow2' } });
    expect(readdirSync(`${host.instancesPath}/${uuid}`)).not.toContain('disk.base');
    await driver.rescue(instance, instance.image);
    expect(await boots(3)).toEqual([64 * 2 ** 20, GIB, 'ephemeral0']);
    await driver.destroy(instance);
    expect(host.leftovers(instance)).toEqual([]);
  } finally {
    host.dispose();
  }
}, 300_000);
