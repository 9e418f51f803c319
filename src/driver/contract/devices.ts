// Volumes and interfaces at rest and attached to a running instance: names, what is in use, what is idempotent, what is refused.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Instance, Vif } from '../model.js';
import type { AttachedVolume, VolumeConnection } from '../volume.js';
import { type ContractBench, expectError } from './harness.js';

const UNKNOWN = 'a3c1f0de-0f6b-4c47-9d2e-5b1c7e9f0a12';

export function defineDevices(bench: ContractBench): void {
  const { before, after, it } = bench.contract;
  let instance: Instance;

  before(async () => {
    instance = await bench.contract.makeInstance();
    await bench.driver.spawn(instance, { timeoutMs: bench.spawnMs });
    // A guest that is still booting may be deaf to hot plug.
    await bench.booted(instance);
  }, bench.spawnMs * 2);

  after(async () => {
    await bench.driver.destroy(instance, { timeoutMs: bench.spawnMs });
    await bench.assertNothingLeft(instance);
  }, bench.spawnMs);

  const attach = async (volume: VolumeConnection, device?: string): Promise<AttachedVolume> => {
    const attached = await bench.driver.attachVolume(instance, volume, device);
    const others = (instance.volumes ?? []).filter((one) => one.device !== attached.device);
    instance = { ...instance, volumes: [...others, attached] };
    return attached;
  };
  const detach = async ({ connection, device }: AttachedVolume): Promise<void> => {
    await bench.driver.detachVolume(instance, connection);
    instance = { ...instance, volumes: (instance.volumes ?? []).filter((one) => one.device !== device) };
  };

  it(
    'attaches and detaches interfaces',
    async () => {
      if (!bench.driver.capabilities.attachInterface) return;
      const [like] = instance.vifs;
      if (!like) return;
      const id = randomUUID();
      const vif: Vif = { ...like, id, mac: 'fa:16:3e:c0:00:01', tap: `tap${id.slice(0, 11)}` };
      await bench.driver.attachInterface(instance, vif);
      const before = instance;
      instance = { ...instance, vifs: [...instance.vifs, vif] };
      await bench.driver.attachInterface(instance, vif);
      const clash = { ...vif, id: randomUUID(), tap: 'tapother' };
      await expectError(bench.driver.attachInterface(instance, clash), ['DEVICE_IN_USE']);
      await bench.driver.detachInterface(instance, vif);
      instance = before;
      await bench.driver.detachInterface(instance, vif);
    },
    bench.spawnMs,
  );

  for (const state of ['running', 'stopped'] as const) {
    it(
      `attaches and detaches volumes, ${state}`,
      async () => {
        const { makeVolume } = bench.contract;
        if (!bench.driver.capabilities.attachVolume || !makeVolume) return;
        if (state === 'stopped') await bench.driver.powerOff(instance.uuid);
        const { mark } = bench.log;
        const [one, two] = [await makeVolume(), await makeVolume()];
        const first = await attach(one);
        assert.match(first.device, /^[a-z]{3}$/);
        assert.deepEqual(await attach(one), first, 'attached already is success');
        await expectError(attach(two, first.device), ['DEVICE_IN_USE']);
        await expectError(attach(one, 'vdz'), ['DEVICE_IN_USE']);
        const second = await attach(two, 'vdy');
        assert.equal(second.device, 'vdy');
        await detach(first);
        await detach(first);
        if (state === 'running') {
          const removed = (event: { type: string }): boolean => event.type === 'device-removed';
          await bench.log.waitFor('device-removed', removed, bench.callMs, mark);
        }
        // What is attached stays so when it is stopped and started.
        await bench.driver.reboot(instance, 'hard');
        assert.deepEqual(await attach(two), second);
        await bench.driver.powerOff(instance.uuid);
        await detach(second);
      },
      bench.spawnMs,
    );
  }

  it(
    'refuses what is none, and what it does not know',
    async () => {
      const { makeVolume } = bench.contract;
      const { driver } = bench;
      if (!driver.capabilities.attachVolume || !makeVolume) return;
      const volume = await makeVolume();
      const hostile = [
        { driverVolumeType: 'iscsi', data: {} },
        { driverVolumeType: 'file', data: { path: '../disk', format: 'raw' } },
        { driverVolumeType: 'file', data: { path: '/a\0b', format: 'raw' } },
        { driverVolumeType: 'file', data: { path: '/disk' } },
        { driverVolumeType: 'file', data: { path: '/disk', format: 'vmdk' } },
        { driverVolumeType: 'block', data: { path: '/etc/passwd' } },
        { driverVolumeType: 'nbd', data: { host: "'/><x" } },
        { driverVolumeType: 'rbd', data: { pool: 'p', image: 'i', hosts: [] } },
        { ...volume, serial: '<x/>' },
        { ...volume, surprise: true },
        null,
      ] as unknown as VolumeConnection[];
      for (const bad of hostile) {
        await expectError(driver.attachVolume(instance, bad, undefined), ['INVALID_ARGUMENT']);
        await expectError(driver.detachVolume(instance, bad), ['INVALID_ARGUMENT']);
      }
      for (const device of ['', 'vd', 'vdB', 'vdabc', '../vdb', "vdb'"]) {
        await expectError(driver.attachVolume(instance, volume, device), ['INVALID_ARGUMENT']);
      }
      const unknown = { ...instance, uuid: UNKNOWN };
      await expectError(driver.attachVolume(unknown, volume, undefined), ['INSTANCE_NOT_FOUND']);
      await expectError(driver.detachVolume(unknown, volume), ['INSTANCE_NOT_FOUND']);
      if (driver.capabilities.extendVolume) {
        await expectError(driver.extendVolume(instance, volume, 2 ** 30), ['DEVICE_NOT_FOUND']);
        await expectError(driver.extendVolume(instance, volume, 1000), ['INVALID_ARGUMENT']);
      }
      if (driver.capabilities.swapVolume) {
        await expectError(driver.swapVolume(instance, volume, await makeVolume()), ['INVALID_STATE']);
      }
      const signal = AbortSignal.abort();
      await expectError(driver.attachVolume(instance, volume, undefined, { signal }), ['ABORTED']);
    },
    bench.callMs,
  );
}
