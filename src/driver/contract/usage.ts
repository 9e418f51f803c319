// What a driver that has figures tells of its instances and of its host.
import assert from 'node:assert/strict';
import type { InstanceUsage, UsageGroup } from '../usage.js';
import type { ContractBench } from './harness.js';

const ALL: readonly UsageGroup[] = ['cpu', 'memory', 'disk', 'network', 'vcpu'];

export function defineUsage(bench: ContractBench): void {
  const { it } = bench.contract;

  const usageOf = async (uuid: string, groups?: readonly UsageGroup[]): Promise<InstanceUsage> => {
    const usages = await bench.driver.getInstancesUsage({ groups });
    const found = usages.filter((usage) => usage.uuid === uuid);
    assert.equal(found.length, 1, `there are ${found.length} usages of one instance`);
    return found[0] as InstanceUsage;
  };

  it(
    'tells the usage of an instance as long as there is one, and only what was asked for',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.usage) return;
      const instance = await bench.contract.makeInstance();
      const { uuid, name, flavor, vifs } = instance;
      await bench.withInstance(instance, async () => {
        const running = await usageOf(uuid, ALL);
        const facts = ({ powerState, vcpus, maxMemoryMb }: InstanceUsage): unknown[] => [
          powerState,
          vcpus,
          maxMemoryMb,
        ];
        assert.equal(running.name, name);
        assert.deepEqual(facts(running), ['running', flavor.vcpus, flavor.memoryMb]);
        assert.ok(running.memoryMb > 0 && running.memoryMb <= flavor.memoryMb, `${running.memoryMb} MiB`);
        assert.ok(Math.abs(running.timestampMs - Date.now()) < bench.callMs, 'it was read at another time');
        assert.ok(running.rssBytes === undefined || running.rssBytes > 0, 'its process has no memory');
        assert.ok(running.disk && running.diskAllocatedBytes !== undefined, 'it has no figures of disks');
        assert.equal(running.network !== undefined, vifs.length > 0);
        const later = await usageOf(uuid, ALL);
        assert.ok(later.cpuTimeNs >= running.cpuTimeNs, 'CPU time was given back');
        assert.ok(later.disk && later.disk.readBytes >= running.disk.readBytes, 'reads were undone');
        const { disk, network, vcpuTimesNs, diskAllocatedBytes } = await usageOf(uuid);
        assert.deepEqual([disk, network, vcpuTimesNs, diskAllocatedBytes], Array(4).fill(undefined));
        await driver.powerOff(uuid);
        const stopped = await usageOf(uuid, ALL);
        assert.deepEqual(facts(stopped), ['shutdown', flavor.vcpus, flavor.memoryMb]);
        assert.deepEqual([stopped.cpuTimeNs, stopped.memoryMb], [0n, 0]);
        assert.deepEqual(
          [stopped.rssBytes, stopped.disk, stopped.network, stopped.vcpuTimesNs],
          Array(4).fill(undefined),
        );
      });
      const left = await driver.getInstancesUsage();
      assert.ok(!left.some((usage) => usage.uuid === uuid), 'what was destroyed is still told');
    },
    bench.spawnMs * 2,
  );

  it(
    'counts the vCPUs of what runs, and only of that',
    async () => {
      const { driver } = bench;
      const instance = await bench.contract.makeInstance();
      await bench.withInstance(instance, async () => {
        const used = async (): Promise<number> => (await driver.getAvailableResource()).vcpusUsed;
        const running = await used();
        await driver.powerOff(instance.uuid);
        assert.equal(running - (await used()), instance.flavor.vcpus);
      });
    },
    bench.spawnMs * 2,
  );

  it(
    'tells the same inventory each time, which agrees with the report',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.usage) return;
      const inventory = await driver.getInventory();
      assert.deepEqual(await driver.getInventory(), inventory);
      const resource = await driver.getAvailableResource();
      for (const key of [
        'hypervisorType',
        'hypervisorVersion',
        'hypervisorHostname',
        'architecture',
      ] as const) {
        assert.equal(inventory[key], resource[key]);
      }
      assert.equal(inventory.memoryMb, resource.memoryMb);
      assert.equal(inventory.cpu.total, resource.vcpus);
      const cpus = inventory.numaCells.flatMap((cell) => cell.cpus);
      assert.equal(new Set(cpus).size, cpus.length, 'a CPU is in two cells');
      for (const { cpus: own, siblings } of inventory.numaCells) {
        assert.deepEqual(
          siblings.flat().toSorted(),
          own.toSorted(),
          'siblings are not the CPUs of their cell',
        );
      }
      assert.ok(inventory.guests.some(({ architecture }) => architecture === inventory.architecture));
      assert.deepEqual(inventory.traits, [...new Set(inventory.traits)].toSorted());
    },
    bench.callMs,
  );
}
