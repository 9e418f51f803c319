// Resize at rest and live on real guests, by what they say of themselves: embedded, and on a private libvirtd.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { ComputeError } from '../../src/driver/errors.js';
import type { Flavor, Instance } from '../../src/driver/model.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import type { LibvirtDriverOptions } from '../../src/libvirt/options.js';
import { typeOnce } from '../support/guest-console.js';
import { eventually, type GuestReport, TestHost } from '../support/host.js';

const GIB = 2 ** 30;

interface Setting {
  readonly host: TestHost;
  readonly options: (more?: Partial<LibvirtDriverOptions>) => LibvirtDriverOptions;
  readonly stop: () => void;
  /** One kind of disks for each connection: they are made by the same code. */
  readonly imagesType: 'qcow2' | 'raw';
}

const settings: Readonly<Record<string, () => Promise<Setting>>> = {
  async embedded() {
    const host = new TestHost();
    return { host, options: (more) => host.options(more), stop: () => undefined, imagesType: 'qcow2' };
  },
  async daemon() {
    const host = new TestHost();
    const daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
    const { instancesPath } = host;
    const options = (more = {}) => ({ instancesPath, uri: daemon.uri, ...more });
    return { host, options, stop: () => daemon.stop(), imagesType: 'raw' };
  },
};

describe.each(Object.entries(settings))('resize on libvirt, %s', (name, make) => {
  let setting: Setting;
  let driver: LibvirtDriver;
  let instance: Instance;

  beforeAll(async () => {
    setting = await make();
  }, 120_000);

  afterEach(async () => {
    await driver?.destroy(instance);
    expect(setting.host.remains()).toEqual([]);
    await driver?.close();
  });

  afterAll(() => {
    setting?.stop();
    setting?.host.dispose();
  });

  async function launch(flavor: Partial<Flavor>, options: Partial<LibvirtDriverOptions> = {}): Promise<void> {
    driver = new LibvirtDriver(setting.options(options));
    await driver.initHost();
    const plain = setting.host.instance();
    instance = { ...plain, flavor: { ...plain.flavor, ...flavor } };
    await driver.spawn(instance);
    await reports(1);
  }

  /** What the guest said at its boot number so and so. */
  async function reports(times: number): Promise<GuestReport> {
    const lines = await eventually(`boot ${times}`, 90_000, () => {
      const found = setting.host.consoleText(instance.uuid).match(/\{"event":"BOOTED".*\}(?=\r?\n)/g) ?? [];
      return found.length >= times && found;
    });
    return JSON.parse(lines[times - 1] ?? '') as GuestReport;
  }

  async function inGuest(command: string, expected: RegExp): Promise<RegExpExecArray> {
    // What is typed while its shell starts is lost.
    await eventually('the prompt', 90_000, () => {
      const text = setting.host.consoleText(instance.uuid);
      return text.slice(text.lastIndexOf('"BOOTED"')).includes('guest# ');
    });
    const said = await typeOnce(await driver.openConsole(instance.uuid), command, expected);
    return expected.exec(said) as RegExpExecArray;
  }

  const files = (): string[] => readdirSync(join(setting.host.instancesPath, instance.uuid)).sort();
  /** Which file it is, when it was written to, and where that is quickly read, what is in it. */
  function fingerprint(name: string): readonly unknown[] {
    const path = join(setting.host.instancesPath, instance.uuid, name);
    const { ino, size, mtimeNs } = statSync(path, { bigint: true });
    const content = size > 2 ** 28 ? '' : createHash('sha256').update(readFileSync(path)).digest('hex');
    return [ino, size, mtimeNs, content];
  }

  it('gives a guest a larger disk, more memory, vCPUs and other disks, and takes all of it back', async () => {
    const { imagesType } = setting;
    await launch({ swapMb: 16 }, { images: { imagesType } });
    await inGuest('mark before; readmark; echo end $((1 + 1))', /before[\s\S]*end 2/);
    const larger: Flavor = {
      ...instance.flavor,
      vcpus: 2,
      memoryMb: 192,
      rootGb: 2,
      ephemeralGb: 1,
      swapMb: 32,
    };
    const resized = { ...instance, flavor: larger };
    await driver.migrateDiskAndPowerOff(instance, larger, { shutdownTimeoutMs: 20_000 });
    const standing = { disk: fingerprint('disk.resize'), swap: fingerprint('disk.swap.resize') };
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('shutdown');
    await driver.finishMigration(resized);
    const guest = await reports(2);
    expect(guest).toMatchObject({ vcpus: 2, memoryMb: 192, rootDiskBytes: 2 * GIB });
    expect(guest.disks.map(({ bytes, content }) => [bytes, content?.type])).toEqual([
      [2 * GIB, undefined],
      [GIB, 'ext4'],
      [32 * 2 ** 20, 'swap'],
    ]);
    // The base that stands below both root disks, and that of the old swap disk, are held.
    const links = (name: string): number =>
      statSync(join(setting.host.instancesPath, instance.uuid, name)).nlink;
    if (imagesType === 'qcow2') {
      expect([links('disk.base'), links('disk.swap.resize.base')]).toEqual([2, 2]);
    }
    await inGuest('readmark; mark after; echo end $((1 + 1))', /before[\s\S]*end 2/);
    expect({ disk: fingerprint('disk.resize'), swap: fingerprint('disk.swap.resize') }).toEqual(standing);
    await driver.finishRevertMigration(instance);
    expect(await reports(3)).toMatchObject({ vcpus: 1, memoryMb: 128, rootDiskBytes: GIB });
    await inGuest('readmark; echo end $((1 + 1))', /before[\s\S]*end 2/);
    expect(files().filter((name) => /resize|new|local/.test(name))).toEqual([]);

    await driver.powerOff(instance.uuid);
    const again = { disk: fingerprint('disk'), swap: fingerprint('disk.swap') };
    await driver.migrateDiskAndPowerOff(instance, larger);
    await driver.finishMigration(resized, { powerOn: false });
    await driver.finishRevertMigration(instance, { powerOn: false });
    expect({ disk: fingerprint('disk'), swap: fingerprint('disk.swap') }).toEqual(again);

    await driver.migrateDiskAndPowerOff(instance, larger);
    await driver.finishMigration(resized, { powerOn: false });
    await driver.confirmMigration(resized);
    expect(files().filter((name) => /resize|new/.test(name))).toEqual([]);
    expect(files().includes('disk.base')).toBe(imagesType === 'qcow2');
    await driver.powerOn(resized);
    expect(await reports(4)).toMatchObject({ vcpus: 2, rootDiskBytes: 2 * GIB });
    await inGuest('readmark; echo end $((1 + 1))', /before[\s\S]*end 2/);
  });

  it('copies nothing where only memory and vCPUs change', async () => {
    await launch({});
    const { ino } = statSync(join(setting.host.instancesPath, instance.uuid, 'disk'));
    const larger = { ...instance.flavor, vcpus: 2, memoryMb: 160 };
    await driver.migrateDiskAndPowerOff(instance, larger);
    expect(files()).not.toContain('disk.resize');
    await driver.finishMigration({ ...instance, flavor: larger });
    expect(await reports(2)).toMatchObject({ vcpus: 2, memoryMb: 160, rootDiskBytes: GIB });
    await driver.confirmMigration({ ...instance, flavor: larger });
    expect(statSync(join(setting.host.instancesPath, instance.uuid, 'disk')).ino).toBe(ino);
    expect(files()).not.toContain('resize.info');
  });

  it('runs as before where it is refused, and where its caller aborts it at whatever moment', async () => {
    await launch({ rootGb: 2, ephemeralGb: 1 });
    const { domainId } = await driver.getInfo(instance.uuid);
    for (const smaller of [{ rootGb: 1 }, { rootGb: 0 }, { ephemeralGb: 0 }]) {
      await expect(
        driver.migrateDiskAndPowerOff(instance, { ...instance.flavor, ...smaller }),
      ).rejects.toMatchObject({ code: 'FLAVOR_DISK_TOO_SMALL' });
    }
    expect((await driver.getInfo(instance.uuid)).domainId).toBe(domainId);
    const larger = { ...instance.flavor, memoryMb: 160, rootGb: 3 };
    const resized = { ...instance, flavor: larger };
    for (const delayMs of [0, 10, 50, 150, 300, 600]) {
      const controller = new AbortController();
      const { signal } = controller;
      const timer = setTimeout(() => controller.abort(), delayMs);
      const outcome = await driver
        .migrateDiskAndPowerOff(instance, larger, { signal, shutdownTimeoutMs: 5_000 })
        .then(() => driver.finishMigration(resized, { signal }))
        .then(
          () => 'resized',
          (error: unknown) => (ComputeError.is(error) ? error.code : String(error)),
        );
      clearTimeout(timer);
      expect(['resized', 'ABORTED']).toContain(outcome);
      await driver.finishRevertMigration(instance);
      const info = await driver.getInfo(instance.uuid);
      expect([info.powerState, info.maxMemoryKib]).toEqual(['running', 128 * 1024]);
      expect(files().filter((name) => /resize|new/.test(name))).toEqual([]);
    }
  });

  const changeWhileItRuns = async () => {
    const extraSpecs = { 'node_compute:max_vcpus': '3', 'node_compute:max_memory_mb': '256' };
    await launch({ extraSpecs }, { liveResizeTimeoutMs: 8_000 });
    const memory = async (): Promise<number> => {
      const [, kib] = await inGuest('grep MemTotal /proc/meminfo', /MemTotal: +(\d+) kB/);
      return Number(kib) / 1024;
    };
    const cpus = async (): Promise<string | undefined> =>
      (await inGuest('echo $(nproc) there', /^(\d+) there/m))[1];
    const size = async (): Promise<readonly number[]> => {
      const { vcpus, memoryKib, maxMemoryKib } = await driver.getInfo(instance.uuid);
      return [vcpus, memoryKib / 1024, maxMemoryKib / 1024];
    };
    // Its balloon is there a moment after it has booted.
    await eventually('the balloon', 60_000, async () => (await memory()) < 128);
    const first = await memory();

    const flavor = { ...instance.flavor, vcpus: 3, memoryMb: 224 };
    const larger = { ...instance, flavor };
    await driver.liveResize(instance, flavor);
    expect(await size()).toEqual([3, 224, 256]);
    // No udev in this guest: it brings CPUs into use by hand.
    await inGuest('for one in /sys/devices/system/cpu/cpu[12]/online; do echo 1 >$one; done', /guest# /);
    expect([await cpus(), (await memory()) - first]).toEqual(['3', 96]);
    const fewer = { ...flavor, memoryMb: 128 };
    const definition = readFileSync(join(setting.host.instancesPath, instance.uuid, 'libvirt.xml'), 'utf8');
    if (definition.startsWith("<domain type='kvm'")) {
      await driver.liveResize(larger, { ...larger.flavor, vcpus: 2 });
      expect([await cpus(), (await size())[0]]).toEqual(['2', 2]);
      await driver.liveResize({ ...larger, flavor: { ...flavor, vcpus: 2 } }, flavor);
    } else {
      const refused = driver.liveResize(larger, instance.flavor);
      await expect(refused).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      expect(await size()).toEqual([3, 224, 256]);
    }
    await driver.liveResize(larger, fewer);
    expect(await size()).toEqual([3, 128, 256]);
    expect((await memory()) - first).toBe(0);
    const standing = { ...instance, flavor: fewer };
    for (const beyond of [{ vcpus: 4 }, { memoryMb: 257 }]) {
      const impossible = { ...fewer, ...beyond, extraSpecs: {} };
      await expect(driver.liveResize(standing, impossible)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    }

    await driver.powerOff(instance.uuid);
    await expect(driver.liveResize(standing, flavor)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    // As the definition has it now: what was changed live outlives the domain.
    await driver.powerOn(standing);
    expect(await reports(2)).toMatchObject({ vcpus: 3, memoryMb: 256 });
    await eventually('the balloon', 60_000, async () => (await memory()) < 128);

    // A guest without the driver, that gives nothing back and takes nothing.
    await inGuest('rmmod virtio_balloon; echo gone $((1 + 1))', /gone 2/);
    const failed = driver.liveResize(standing, { ...fewer, memoryMb: 200 }, { timeoutMs: 60_000 });
    await expect(failed).rejects.toMatchObject({ code: 'LIVE_RESIZE_FAILED', retryable: true });
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('running');
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    const aborted = driver.liveResize(standing, { ...fewer, memoryMb: 200 }, { signal: controller.signal });
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
  };
  // Half a minute, of which libvirt's part is the contract suite's on a daemon too.
  if (name === 'embedded') {
    it(
      'changes memory and vCPUs of a guest that runs, and leaves it as it was where it does not follow',
      changeWhileItRuns,
    );
  }
});
