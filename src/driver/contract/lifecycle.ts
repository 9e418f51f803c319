// One instance through its life, in the order of the tests: launched, looked at, paused, stopped, rebooted, removed.
import assert from 'node:assert/strict';
import type { SpawnResult } from '../compute-driver.js';
import type { Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

export function defineLifecycle(bench: ContractBench): void {
  const { before, after } = bench.contract;
  const life: Life = { steps: [] };

  before(async () => {
    life.instance = withMoreDisks(await bench.contract.makeInstance());
    life.result = await bench.driver.spawn(life.instance, {
      timeoutMs: bench.spawnMs,
      onStep: (step) => {
        life.steps.push(step);
      },
    });
  }, bench.spawnMs);

  after(async () => {
    if (life.instance) await bench.driver.destroy(life.instance, { timeoutMs: bench.spawnMs });
  }, bench.spawnMs);

  defineLaunched(bench, life);
  definePower(bench, life);
  defineReboot(bench, life);
  defineEnd(bench, life);
}

/** Every driver gives an instance the disks of its flavor, all through its life. */
function withMoreDisks(instance: Instance): Instance {
  return { ...instance, flavor: { ...instance.flavor, ephemeralGb: 1, swapMb: 16 } };
}

interface Life {
  instance?: Instance;
  result?: SpawnResult;
  readonly steps: string[];
}

function launched(life: Life): { instance: Instance; result: SpawnResult } {
  assert.ok(life.instance && life.result, 'the launch before these tests failed');
  return { instance: life.instance, result: life.result };
}

function defineLaunched(bench: ContractBench, life: Life): void {
  const { it } = bench.contract;

  it(
    'launches in four announced steps and resolves with a running instance',
    async () => {
      const { instance, result } = launched(life);
      assert.deepEqual(life.steps, ['image', 'definition', 'network', 'start']);
      for (const [step, ms] of Object.entries(result.stepsMs)) assert.ok(ms >= 0, `${step} took ${ms} ms`);
      assert.ok(['hit', 'fetched', 'joined'].includes(result.imageCache));
      const { info } = result;
      assert.deepEqual(
        { uuid: info.uuid, name: info.name, powerState: info.powerState, vcpus: info.vcpus },
        { uuid: instance.uuid, name: instance.name, powerState: 'running', vcpus: instance.flavor.vcpus },
      );
      assert.ok(info.domainId >= 0);
      assert.equal(info.maxMemoryKib, instance.flavor.memoryMb * 1024);
      assert.equal(typeof info.cpuTimeNs, 'bigint');
    },
    bench.callMs,
  );

  it(
    'said by an event that it started, with rising sequence numbers',
    async () => {
      const { instance } = launched(life);
      const started = await bench.log.lifecycle(instance.uuid, 'started', bench.callMs);
      assert.ok(started.timestamp > 0);
      assertRising(bench);
    },
    bench.callMs,
  );

  it(
    'finds it: getInfo, instanceExists, listInstances, getAvailableResource',
    async () => {
      const { instance } = launched(life);
      await bench.assertState(instance, 'running');
      assert.equal(await bench.driver.instanceExists(instance.uuid), true);
      const listed = (await bench.driver.listInstances()).filter(({ uuid }) => uuid === instance.uuid);
      assert.deepEqual(listed, [{ uuid: instance.uuid, name: instance.name, powerState: 'running' }]);
      const resource = await bench.driver.getAvailableResource();
      assert.ok(resource.runningInstances >= 1 && resource.vcpusUsed >= instance.flavor.vcpus);
    },
    bench.callMs,
  );

  it(
    'refuses to spawn it again and leaves the running one alone',
    async () => {
      const { instance } = launched(life);
      const { domainId } = await bench.driver.getInfo(instance.uuid);
      await expectError(bench.driver.spawn(instance), ['INSTANCE_EXISTS']);
      const info = await bench.driver.getInfo(instance.uuid);
      assert.deepEqual([info.powerState, info.domainId], ['running', domainId]);
    },
    bench.callMs,
  );

  it(
    'gives what the guest wrote to its console, its end where less is asked for',
    async () => {
      const { instance } = launched(life);
      const { consoleText } = bench.contract;
      if (!bench.driver.capabilities.consoleOutput || consoleText === undefined) return;
      const text = await bench.console(instance.uuid, consoleText);
      assert.ok(text.length > 4);
      const tail = await bench.driver.getConsoleOutput(instance.uuid, { maxBytes: 4 });
      assert.equal(tail.byteLength, 4);
    },
    bench.spawnMs,
  );
}

function definePower(bench: ContractBench, life: Life): void {
  const { it } = bench.contract;

  it(
    'pauses and unpauses; being so already is success',
    async () => {
      if (!bench.driver.capabilities.pause) return;
      const { instance } = launched(life);
      const { mark } = bench.log;
      await bench.driver.pause(instance.uuid);
      await bench.assertState(instance, 'paused');
      await bench.driver.pause(instance.uuid);
      await bench.assertState(instance, 'paused');
      await bench.driver.unpause(instance.uuid);
      await bench.assertState(instance, 'running');
      await bench.driver.unpause(instance.uuid);
      await bench.assertState(instance, 'running');
      await bench.log.lifecycle(instance.uuid, 'suspended', bench.callMs, mark);
      await bench.log.lifecycle(instance.uuid, 'resumed', bench.callMs, mark);
    },
    bench.callMs,
  );

  it(
    'pulls the plug; stopped already is success, pausing then is not',
    async () => {
      const { instance } = launched(life);
      const { mark } = bench.log;
      await bench.driver.powerOff(instance.uuid);
      await bench.assertState(instance, 'shutdown');
      await bench.log.lifecycle(instance.uuid, 'stopped', bench.callMs, mark);
      await bench.driver.powerOff(instance.uuid);
      await bench.driver.powerOff(instance.uuid, { shutdownTimeoutMs: bench.shutdownMs });
      await bench.assertState(instance, 'shutdown');
      if (!bench.driver.capabilities.pause) return;
      await expectError(bench.driver.pause(instance.uuid), ['INVALID_STATE']);
      await expectError(bench.driver.unpause(instance.uuid), ['INVALID_STATE']);
    },
    bench.callMs,
  );

  it(
    'powers on; running already is success',
    async () => {
      const { instance } = launched(life);
      const { mark } = bench.log;
      await bench.driver.powerOn(instance);
      await bench.assertState(instance, 'running');
      await bench.log.lifecycle(instance.uuid, 'started', bench.callMs, mark);
      const { domainId } = await bench.driver.getInfo(instance.uuid);
      await bench.driver.powerOn(instance);
      assert.equal((await bench.driver.getInfo(instance.uuid)).domainId, domainId, 'it was started anew');
    },
    bench.callMs,
  );

  it(
    'asks the guest first where it is given time, and stops it in the end',
    async () => {
      const { instance } = launched(life);
      await bench.driver.powerOff(instance.uuid, {
        shutdownTimeoutMs: bench.shutdownMs,
        retryIntervalMs: 500,
      });
      await bench.assertState(instance, 'shutdown');
    },
    bench.callMs + bench.shutdownMs,
  );
}

function defineReboot(bench: ContractBench, life: Life): void {
  const { it } = bench.contract;

  it(
    'reboots hard, also what is stopped',
    async () => {
      const { instance } = launched(life);
      await bench.driver.powerOff(instance.uuid);
      await bench.driver.reboot(instance, 'hard');
      await bench.assertState(instance, 'running');
      const { mark } = bench.log;
      await bench.driver.reboot(instance, 'hard');
      await bench.assertState(instance, 'running');
      await bench.log.waitFor(
        'started or reboot',
        (event) =>
          (event.type === 'reboot' && event.uuid === instance.uuid) ||
          (event.type === 'lifecycle' && event.uuid === instance.uuid && event.event === 'started'),
        bench.callMs,
        mark,
      );
    },
    bench.callMs * 2,
  );

  it(
    'reboots softly and is running when that resolves',
    async () => {
      const { instance } = launched(life);
      const reboot = bench.driver.reboot(instance, 'soft', { shutdownTimeoutMs: bench.shutdownMs });
      if (!bench.driver.capabilities.softReboot) {
        await expectError(reboot, ['UNSUPPORTED']);
        return;
      }
      await reboot;
      await bench.assertState(instance, 'running');
    },
    bench.callMs + bench.shutdownMs,
  );

  it(
    'falls back to a hard reboot when the guest does not listen',
    async () => {
      const { makeStubbornInstance } = bench.contract;
      if (!bench.driver.capabilities.softReboot || !makeStubbornInstance) return;
      const stubborn = await makeStubbornInstance();
      await bench.withInstance(stubborn, async () => {
        const { mark } = bench.log;
        const begin = Date.now();
        await bench.driver.reboot(stubborn, 'soft', { shutdownTimeoutMs: bench.shutdownMs });
        assert.ok(Date.now() - begin >= bench.shutdownMs * 0.9, 'the guest was not given its time');
        await bench.assertState(stubborn, 'running');
        await bench.log.lifecycle(stubborn.uuid, 'stopped', bench.callMs, mark);
      });
      await bench.assertNothingLeft(stubborn);
    },
    bench.spawnMs + bench.callMs + bench.shutdownMs,
  );
}

function defineEnd(bench: ContractBench, life: Life): void {
  const { it } = bench.contract;

  it(
    'destroys it and everything of it; once more is success; its uuid can be launched again',
    async () => {
      const { instance } = launched(life);
      const { mark } = bench.log;
      await bench.driver.destroy(instance);
      await bench.assertNothingLeft(instance);
      await bench.log.lifecycle(instance.uuid, 'stopped', bench.callMs, mark);
      await bench.driver.destroy(instance);
      await bench.withInstance(instance, () => bench.assertState(instance, 'running'));
      await bench.assertNothingLeft(instance);
      assertRising(bench);
    },
    bench.spawnMs + bench.callMs,
  );
}

function assertRising(bench: ContractBench): void {
  const sequences = bench.log.seen.map(({ sequence }) => sequence);
  assert.ok(
    sequences.every((sequence, i) => i === 0 || sequence > (sequences[i - 1] ?? 0)),
    `sequence numbers do not rise: ${sequences.join(' ')}`,
  );
}
