// How far a guest may write before it is told: which disks can be watched, and when.
import type { Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

export function defineDiskThreshold(bench: ContractBench): void {
  bench.contract.it(
    'watches the disks of a running instance, and no others',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.diskThreshold) return;
      const instance: Instance = await bench.contract.makeInstance();
      await bench.withInstance(instance, async () => {
        const { uuid } = instance;
        await driver.setDiskThreshold(uuid, 'vda', 2 ** 40);
        await driver.setDiskThreshold(uuid, 'vda', 0);
        await expectError(driver.setDiskThreshold(uuid, 'vdz', 2 ** 40), ['DEVICE_NOT_FOUND']);
        await expectError(driver.setDiskThreshold(uuid, '', 2 ** 40), ['DEVICE_NOT_FOUND']);
        for (const bytes of [-1, 0.5, Number.NaN]) {
          await expectError(driver.setDiskThreshold(uuid, 'vda', bytes), ['INVALID_ARGUMENT']);
        }
        await driver.powerOff(uuid);
        await expectError(driver.setDiskThreshold(uuid, 'vda', 2 ** 40), ['INVALID_STATE']);
      });
    },
    bench.spawnMs,
  );
}
