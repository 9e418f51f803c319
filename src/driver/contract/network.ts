// What the taps of an instance are plugged into, and network filters: idempotent, refused before any effect.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ComputeError } from '../errors.js';
import type { Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

export function defineNetwork(bench: ContractBench): void {
  const { it } = bench.contract;

  it(
    'plugs and unplugs again and again, and unplugs nothing that runs',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.plugVifs) return;
      const instance = await bench.contract.makeInstance();
      await driver.plugVifs(instance);
      await driver.unplugVifs(instance);
      await bench.withInstance(instance, async () => {
        for (let turn = 0; turn < 2; turn += 1) await driver.plugVifs(instance);
        await expectError(driver.unplugVifs(instance), ['INVALID_STATE']);
        await driver.powerOff(instance.uuid);
        for (let turn = 0; turn < 2; turn += 1) await driver.unplugVifs(instance);
        assert.deepEqual(await tapsLeft(bench, instance), []);
        await driver.powerOn(instance);
        await bench.assertState(instance, 'running');
      });
      await driver.unplugVifs(instance);
      await bench.assertNothingLeft(instance);
    },
    bench.spawnMs * 2,
  );

  it(
    'refuses a network filter that it has not, before any effect',
    async () => {
      const { driver } = bench;
      const instance = await bench.contract.makeInstance();
      const [like] = instance.vifs;
      if (!like) return;
      const filter = driver.capabilities.vifFilter ? 'no-such-filter' : 'clean-traffic';
      const filtered = { ...instance, vifs: [{ ...like, filter }] };
      const steps: string[] = [];
      const onStep = (step: string): void => {
        steps.push(step);
      };
      await expectError(driver.spawn(filtered, { onStep }), ['UNSUPPORTED']);
      assert.deepEqual(steps, []);
      await bench.assertNothingLeft(instance);
      if (!driver.capabilities.attachInterface) return;
      await bench.withInstance(instance, async () => {
        const id = randomUUID();
        const vif = { ...like, id, mac: 'fa:16:3e:c0:00:02', tap: `tap${id.slice(0, 11)}`, filter };
        await expectError(driver.attachInterface(instance, vif), ['UNSUPPORTED']);
        assert.deepEqual(await tapsLeft(bench, { ...instance, vifs: [vif] }), []);
      });
    },
    bench.spawnMs * 2,
  );
}

/** What waits for its ports stands still: its taps are there, and it runs when they are said to be plugged in. */
export function definePausedStart(bench: ContractBench): void {
  const { it } = bench.contract;

  it(
    'starts a guest paused where something has to be done before it runs',
    async () => {
      const { driver } = bench;
      if (!driver.capabilities.pause) return;
      const instance = await bench.contract.makeInstance();
      let seen: string | undefined;
      const beforeRun = async (): Promise<void> => {
        seen = (await driver.getInfo(instance.uuid)).powerState;
      };
      try {
        const { info } = await driver.spawn(instance, { beforeRun, timeoutMs: bench.spawnMs });
        assert.deepEqual([seen, info.powerState], ['paused', 'running']);
      } finally {
        await driver.destroy(instance);
      }
    },
    bench.spawnMs,
  );

  it(
    'leaves nothing of a guest whose ports were not plugged in',
    async () => {
      const { driver } = bench;
      const instance = await bench.contract.makeInstance();
      const beforeRun = async (): Promise<void> => {
        throw new ComputeError('NETWORK_FAILED', 'not plugged in');
      };
      const spawning = driver.spawn(instance, { beforeRun, timeoutMs: bench.spawnMs });
      await expectError(spawning, ['NETWORK_FAILED']);
      await bench.assertNothingLeft(instance);
    },
    bench.spawnMs,
  );
}

/** Where the caller's look at the host tells of taps, by their names. */
async function tapsLeft({ contract }: ContractBench, instance: Instance): Promise<string[]> {
  const left = (await contract.leftovers?.(instance)) ?? [];
  return left.filter((name) => instance.vifs.some(({ tap }) => tap === name));
}
