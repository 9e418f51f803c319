// What every driver refuses, and how: capabilities that are off, unknown instances, hostile ids, aborted calls.
import assert from 'node:assert/strict';
import { type DriverCapabilities, METHOD_CAPABILITY } from '../compute-driver.js';
import type { Instance, Vif } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

const UNKNOWN = 'a3c1f0de-0f6b-4c47-9d2e-5b1c7e9f0a11';

const HOSTILE_UUIDS = [
  '',
  '.',
  '..',
  '../../../etc/passwd',
  'a3c1f0de-0f6b-4c47-9d2e-5b1c7e9f0a1',
  'a3c1f0de-0f6b-4c47-9d2e-5b1c7e9f0a11/../_base',
  'a3c1f0de-0f6b-4c47-9d2e-5b1c7e9f0a11\n',
  'a3c1f0de-0f6b-4c47-9d2e-5b1c7e9f0a11\0',
  'A3C1F0DE-0F6B-4C47-9D2E-5B1C7E9F0A11',
  '00000000-0000-0000-0000-000000000000',
  '<uuid/>',
  '_base',
];

const HOSTILE_NAMES = ['', '../instance-00000001', 'instance-1', 'instance-00000001\n', '<name/>', 'other'];

export function defineRefusals(bench: ContractBench): void {
  const { it } = bench.contract;

  it(
    'says by flags what it can do, and rejects everything else with UNSUPPORTED',
    async () => {
      const flags = new Set<keyof DriverCapabilities>(Object.values(METHOD_CAPABILITY));
      for (const flag of [...flags, 'softReboot'] as const) {
        assert.equal(typeof bench.driver.capabilities[flag], 'boolean', `capability ${flag}`);
      }
      const instance = await bench.contract.makeInstance();
      for (const [method, flag] of Object.entries(METHOD_CAPABILITY)) {
        if (bench.driver.capabilities[flag]) continue;
        await expectError(callOptional(bench, method as OptionalMethod, instance), ['UNSUPPORTED']);
      }
    },
    bench.callMs,
  );

  it(
    'answers for an instance that it does not know',
    async () => {
      const { driver } = bench;
      const instance = { ...(await bench.contract.makeInstance()), uuid: UNKNOWN };
      assert.equal(await driver.instanceExists(UNKNOWN), false);
      const calls = [
        driver.getInfo(UNKNOWN),
        driver.powerOff(UNKNOWN),
        driver.powerOn(instance),
        driver.reboot(instance, 'hard'),
        ...(driver.capabilities.pause ? [driver.pause(UNKNOWN), driver.unpause(UNKNOWN)] : []),
        ...(driver.capabilities.consoleOutput ? [driver.getConsoleOutput(UNKNOWN)] : []),
        ...askAll(bench, instance),
      ];
      // All at once: a rejection that nobody waits for yet would be an unhandled one.
      await Promise.all(calls.map((call) => expectError(call, ['INSTANCE_NOT_FOUND'])));
      await driver.destroy({ uuid: UNKNOWN, vifs: [] });
      await bench.assertNothingLeft(instance);
    },
    bench.callMs,
  );

  it(
    'refuses ids and names that are none of ours, before any effect',
    async () => {
      const { driver } = bench;
      const instance = await bench.contract.makeInstance();
      for (const uuid of HOSTILE_UUIDS) {
        const calls = [
          driver.getInfo(uuid),
          driver.instanceExists(uuid),
          driver.powerOff(uuid),
          driver.powerOn({ ...instance, uuid }),
          driver.reboot({ ...instance, uuid }, 'hard'),
          driver.destroy({ uuid, vifs: [] }),
          driver.spawn({ ...instance, uuid }),
          ...(driver.capabilities.pause ? [driver.pause(uuid), driver.unpause(uuid)] : []),
          ...(driver.capabilities.consoleOutput ? [driver.getConsoleOutput(uuid)] : []),
          ...askAll(bench, { ...instance, uuid }),
        ];
        await Promise.all(calls.map((call) => expectError(call, ['INVALID_ARGUMENT'])));
      }
      for (const name of HOSTILE_NAMES) {
        await expectError(driver.spawn({ ...instance, name }), ['INVALID_ARGUMENT']);
      }
      for (const id of [0, -1, 1.5, 2 ** 32, Number.NaN]) {
        await expectError(driver.spawn({ ...instance, id }), ['INVALID_ARGUMENT']);
      }
      await bench.assertNothingLeft(instance);
    },
    bench.callMs,
  );

  it(
    'does nothing under a signal that has fired already',
    async () => {
      const { driver } = bench;
      const instance = await bench.contract.makeInstance();
      const signal = AbortSignal.abort(new Error('changed my mind'));
      const steps: string[] = [];
      const onStep = (step: string): void => {
        steps.push(step);
      };
      await expectError(driver.spawn(instance, { signal, onStep }), ['ABORTED']);
      assert.deepEqual(steps, []);
      await expectError(driver.getInfo(instance.uuid, { signal }), ['ABORTED']);
      await expectError(driver.listInstances({ signal }), ['ABORTED']);
      await bench.assertNothingLeft(instance);
    },
    bench.callMs,
  );

  it(
    'tells what the host has',
    async () => {
      const resource = await bench.driver.getAvailableResource();
      for (const field of ['hypervisorType', 'hypervisorHostname', 'architecture'] as const) {
        assert.ok(resource[field].length > 0, `${field} is empty`);
      }
      for (const field of ['vcpus', 'memoryMb', 'localGb', 'hypervisorVersion', 'numaCells'] as const) {
        assert.ok(Number.isInteger(resource[field]) && resource[field] > 0, `${field} is ${resource[field]}`);
      }
      const { sockets, cores, threads } = resource.cpuTopology;
      assert.ok(sockets * cores * threads > 0, 'the CPU topology has no thread');
      for (const field of ['memoryMbUsed', 'localGbUsed', 'vcpusUsed', 'runningInstances'] as const) {
        assert.ok(
          Number.isInteger(resource[field]) && resource[field] >= 0,
          `${field} is ${resource[field]}`,
        );
      }
      assert.ok(resource.memoryMbUsed <= resource.memoryMb, 'more memory is used than there is');
    },
    bench.callMs,
  );
}

type OptionalMethod = keyof typeof METHOD_CAPABILITY;

/** Asked of one instance, whatever its state. */
const QUESTIONS: readonly OptionalMethod[] = [
  'suspend',
  'resume',
  'resumeStateOnHostBoot',
  'triggerCrashDump',
  'getDiagnostics',
  'getVncConsole',
  'getSpiceConsole',
  'getSerialConsole',
  'getScreenshot',
  'openConsole',
  'pingAgent',
  'setAdminPassword',
  'setGuestTime',
  'quiesce',
  'unquiesce',
];

/** Those that this driver has, called for that instance. */
function askAll(bench: ContractBench, instance: Instance): Promise<unknown>[] {
  const { capabilities } = bench.driver;
  return QUESTIONS.filter((method) => capabilities[METHOD_CAPABILITY[method]]).map((method) =>
    callOptional(bench, method, instance),
  );
}

const VOLUME = { driverVolumeType: 'file', data: { path: '/nonexistent', format: 'raw' } } as const;

/** Calls an optional method with arguments of the right shape. */
function callOptional(bench: ContractBench, method: OptionalMethod, instance: Instance): Promise<unknown> {
  const { driver } = bench;
  const { uuid, image, flavor } = instance;
  const vif: Vif = { id: UNKNOWN, mac: 'fa:16:3e:00:00:01', bridge: 'br-none', tap: 'tapa3c1f0de-0f' };
  const calls: Record<OptionalMethod, () => Promise<unknown>> = {
    pause: () => driver.pause(uuid),
    unpause: () => driver.unpause(uuid),
    getConsoleOutput: () => driver.getConsoleOutput(uuid),
    suspend: () => driver.suspend(uuid),
    resume: () => driver.resume(instance),
    resumeStateOnHostBoot: () => driver.resumeStateOnHostBoot(instance),
    triggerCrashDump: () => driver.triggerCrashDump(uuid),
    rescue: () => driver.rescue(instance, image),
    unrescue: () => driver.unrescue(instance),
    rebuild: () => driver.rebuild(instance, image),
    snapshot: () => driver.snapshot(instance, image.id),
    migrateDiskAndPowerOff: () => driver.migrateDiskAndPowerOff(instance, flavor),
    finishMigration: () => driver.finishMigration(instance),
    confirmMigration: () => driver.confirmMigration(instance),
    finishRevertMigration: () => driver.finishRevertMigration(instance),
    liveMigration: () => driver.liveMigration(instance, 'elsewhere.invalid'),
    attachVolume: () => driver.attachVolume(instance, VOLUME, 'vdb'),
    detachVolume: () => driver.detachVolume(instance, VOLUME),
    extendVolume: () => driver.extendVolume(instance, VOLUME, 2 ** 30),
    swapVolume: () => driver.swapVolume(instance, VOLUME, VOLUME),
    attachInterface: () => driver.attachInterface(instance, vif),
    detachInterface: () => driver.detachInterface(instance, vif),
    getDiagnostics: () => driver.getDiagnostics(uuid),
    getVncConsole: () => driver.getVncConsole(uuid),
    getSpiceConsole: () => driver.getSpiceConsole(uuid),
    getSerialConsole: () => driver.getSerialConsole(uuid),
    getScreenshot: () => driver.getScreenshot(uuid),
    openConsole: () => driver.openConsole(uuid),
    pingAgent: () => driver.pingAgent(uuid),
    setAdminPassword: () => driver.setAdminPassword(instance, 'not a secret'),
    setGuestTime: () => driver.setGuestTime(uuid),
    quiesce: () => driver.quiesce(uuid),
    unquiesce: () => driver.unquiesce(uuid),
    cacheImage: () => driver.cacheImage(image),
    manageImageCache: () => driver.manageImageCache([]),
    getImageCacheMetrics: () => driver.getImageCacheMetrics(),
    getInstancesUsage: () => driver.getInstancesUsage(),
    getInventory: () => driver.getInventory(),
  };
  return calls[method]();
}
