// The bulk sample of all domains: what real guests do shows in it, and a QEMU that hangs does not stop it.
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import type { Instance } from '../../src/driver/model.js';
import type { InstanceUsage, UsageGroup } from '../../src/driver/usage.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { Fleet } from '../support/fleet.js';
import { eventually, qemuProcesses, TestHost } from '../support/host.js';

const ALL: readonly UsageGroup[] = ['cpu', 'memory', 'disk', 'network', 'vcpu'];

interface Setting {
  readonly host: TestHost;
  readonly driver: LibvirtDriver;
  readonly uri: string;
  /** Of a daemon: what virsh says. */
  readonly virsh?: (...words: string[]) => string;
  readonly stop: () => void;
}

const settings: Readonly<Record<string, () => Promise<Setting>>> = {
  async embedded() {
    const host = new TestHost();
    const uri = `qemu:///embed?root=${host.root}`;
    return { host, driver: new LibvirtDriver(host.options()), uri, stop: () => undefined };
  },
  async daemon() {
    const host = new TestHost();
    const daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
    const { instancesPath } = host;
    const driver = new LibvirtDriver({ instancesPath, uri: daemon.uri });
    const virsh = (...words: string[]): string => daemon.virsh(...words);
    return { host, driver, uri: daemon.uri, virsh, stop: () => daemon.stop() };
  },
};

describe.each(Object.entries(settings))('usage of instances on libvirt, %s', (name, make) => {
  let setting: Setting;

  beforeAll(async () => {
    setting = await make();
    await setting.driver.initHost();
  }, 120_000);

  afterAll(async () => {
    await setting?.driver.close();
    setting?.stop();
    setting?.host.dispose();
  });

  const usageOf = async (uuid: string): Promise<InstanceUsage> => {
    const all = await setting.driver.getInstancesUsage({ groups: ALL });
    const one = all.find((usage) => usage.uuid === uuid);
    if (!one) throw new Error(`there is no usage of ${uuid}`);
    return one;
  };

  describe('a guest', () => {
    let instance: Instance;
    let terminal: Duplex;

    beforeAll(async () => {
      const { driver, host } = setting;
      instance = host.instance();
      await driver.spawn(instance);
      await host.booted(instance.uuid);
      terminal = await driver.openConsole(instance.uuid);
      terminal.resume();
    }, 120_000);

    afterAll(async () => {
      terminal?.destroy();
      await setting.driver.destroy(instance);
    });

    it('is told with all its figures, in the words of its definition', async () => {
      const usage = await usageOf(instance.uuid);
      expect(usage).toMatchObject({
        name: instance.name,
        powerState: 'running',
        vcpus: 1,
        memoryMb: 128,
        maxMemoryMb: 128,
      });
      expect(Math.abs(usage.timestampMs - Date.now())).toBeLessThan(60_000);
      expect(usage.cpuTimeNs).toBeGreaterThan(0n);
      expect(usage.rssBytes).toBeGreaterThan(10 * 2 ** 20);
      expect(usage.disk?.readBytes).toBeGreaterThan(2 ** 20);
      expect(usage.diskAllocatedBytes).toBeGreaterThan(0);
      expect(usage.vcpuTimesNs).toHaveLength(1);
    });

    it("agrees with libvirt's own figures", async () => {
      const { driver } = setting;
      const before = await driver.getDiagnostics(instance.uuid);
      const usage = await usageOf(instance.uuid);
      const after = await driver.getDiagnostics(instance.uuid);
      const between = (
        low: bigint | undefined,
        value: number | bigint | undefined,
        high: bigint | undefined,
      ) => {
        expect(BigInt(value ?? -1)).toBeGreaterThanOrEqual(low ?? 0n);
        expect(BigInt(value ?? -1)).toBeLessThanOrEqual(high ?? 0n);
      };
      between(before.diskDetails[0]?.readBytes, usage.disk?.readBytes, after.diskDetails[0]?.readBytes);
      between(before.nicDetails[0]?.rxOctets, usage.network?.rxBytes, after.nicDetails[0]?.rxOctets);
      between(before.nicDetails[0]?.txPackets, usage.network?.txPackets, after.nicDetails[0]?.txPackets);
      between(before.cpuDetails[0]?.timeNs, usage.vcpuTimesNs?.[0], after.cpuDetails[0]?.timeNs);
    });

    it('burns CPU, writes its disk and sends packets, and the figures show it', async () => {
      const before = await usageOf(instance.uuid);
      terminal.write('dd if=/dev/zero of=/dev/vda bs=1M seek=512 count=16 conv=fsync\n');
      terminal.write(
        'ip link set eth0 up; ip addr add 192.0.2.1/24 dev eth0; arping -c 3 -I eth0 192.0.2.2\n',
      );
      const after = await eventually('the figures to rise', 60_000, async () => {
        const usage = await usageOf(instance.uuid);
        const grown =
          (usage.disk?.writeBytes ?? 0) - (before.disk?.writeBytes ?? 0) >= 16 * 2 ** 20 &&
          (usage.network?.txPackets ?? 0) > (before.network?.txPackets ?? 0) &&
          usage.cpuTimeNs > before.cpuTimeNs;
        return grown ? usage : undefined;
      });
      expect(after.disk?.writeRequests).toBeGreaterThan(before.disk?.writeRequests ?? 0);
      expect(after.network?.txBytes).toBeGreaterThan(before.network?.txBytes ?? 0);
      expect(after.diskAllocatedBytes).toBeGreaterThanOrEqual(
        (before.diskAllocatedBytes ?? 0) + 15 * 2 ** 20,
      );
      expect(after.vcpuTimesNs?.[0]).toBeGreaterThan(before.vcpuTimesNs?.[0] ?? 0n);
    }, 90_000);

    it('counts an interface from its attachment until it is detached', async () => {
      const { driver } = setting;
      await driver.detachInterface(instance, instance.vifs[0] as Instance['vifs'][number]);
      expect((await usageOf(instance.uuid)).network).toBeUndefined();
      await driver.attachInterface({ ...instance, vifs: [] }, instance.vifs[0] as Instance['vifs'][number]);
      expect((await usageOf(instance.uuid)).network).toBeDefined();
    }, 90_000);

    // No other tool can reach an embedded libvirt.
    if (name === 'daemon') {
      it('whose memory another tool takes is told so as soon as it is gone', async () => {
        const resized = async (mb: number): Promise<void> => {
          setting.virsh?.('setmem', instance.name, `${mb}M`, '--live');
          await eventually(
            `the balloon to leave ${mb} MiB`,
            20_000,
            async () => (await usageOf(instance.uuid)).memoryMb === mb,
          );
        };
        await resized(120);
        await resized(128);
      }, 60_000);
    }

    it('that is stopped has no figures of a process, and has them again when it runs', async () => {
      const { driver } = setting;
      await driver.pause(instance.uuid);
      expect((await usageOf(instance.uuid)).powerState).toBe('paused');
      await driver.powerOff(instance.uuid);
      const stopped = await usageOf(instance.uuid);
      expect(stopped).toMatchObject({ powerState: 'shutdown', vcpus: 1, cpuTimeNs: 0n, memoryMb: 0 });
      expect(stopped.diskAllocatedBytes).toBeGreaterThan(0);
      const { rssBytes, disk, network, vcpuTimesNs } = stopped;
      expect([rssBytes, disk, network, vcpuTimesNs]).toEqual([undefined, undefined, undefined, undefined]);
      await driver.powerOn(instance);
      const again = await eventually('its new process', 30_000, async () => {
        const usage = await usageOf(instance.uuid);
        return usage.rssBytes === undefined ? undefined : usage;
      });
      expect(again).toMatchObject({ powerState: 'running', memoryMb: 128 });
    }, 60_000);
  });

  describe('thirty domains', () => {
    let fleet: Fleet;

    beforeAll(async () => {
      fleet = await Fleet.start(setting.uri, `${setting.host.directory}/fleet`, 30);
    }, 120_000);

    afterAll(async () => {
      await fleet?.[Symbol.asyncDispose]();
    }, 60_000);

    it('are all told, each with its own figures', async () => {
      const usages = new Map(
        (await setting.driver.getInstancesUsage({ groups: ALL })).map((usage) => [usage.uuid, usage]),
      );
      for (const [index, domain] of fleet.domains.entries()) {
        const usage = usages.get(domain.uuid);
        const mb = 16 + (index % 4) * 16;
        expect(usage).toMatchObject({
          name: domain.name,
          powerState: 'paused',
          vcpus: 1 + (index % 2),
          memoryMb: mb,
          maxMemoryMb: mb,
          disk: { readBytes: 0, writeBytes: 0 },
          network: { rxBytes: expect.any(Number) },
        });
        expect(usage?.rssBytes).toBeGreaterThan(2 ** 20);
        expect(usage?.vcpuTimesNs).toHaveLength(1 + (index % 2));
      }
      const resource = await setting.driver.getAvailableResource();
      expect(resource.vcpusUsed).toBeGreaterThanOrEqual(45);
    });

    it.for([1, 5])(
      'are told although %i QEMUs hang, without the figures that only those know',
      {
        timeout: 60_000,
      },
      async (count) => {
        const { driver } = setting;
        const hung = new Set(fleet.domains.slice(0, count).map(({ uuid }) => uuid));
        const pids = [...hung].flatMap((uuid) => qemuProcesses(uuid));
        for (const pid of pids) process.kill(pid, 'SIGSTOP');
        try {
          // More than are asked at a time have to be found out first.
          if (count > 1) await driver.getInstancesUsage({ groups: ALL });
          for (let round = 0; round < 3; round += 1) {
            const usages = await driver.getInstancesUsage({ groups: ALL });
            const silent = usages.filter(({ disk }) => disk === undefined).map(({ uuid }) => uuid);
            expect(new Set(silent)).toEqual(hung);
            expect(usages.filter(({ rssBytes }) => rssBytes !== undefined).length).toBeGreaterThanOrEqual(30);
            expect((await driver.getInstancesUsage()).length).toBe(usages.length);
          }
          expect((await driver.getAvailableResource()).vcpusUsed).toBeGreaterThanOrEqual(45);
        } finally {
          for (const pid of pids) process.kill(pid, 'SIGCONT');
        }
        await eventually('the figures of those that hung', 30_000, async () => {
          const usages = await driver.getInstancesUsage({ groups: ['disk'] });
          return usages.every(({ disk }) => disk);
        });
      },
    );
  });
});
