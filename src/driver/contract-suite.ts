// The contract of ComputeDriver as tests: run it on a driver of your own, with your test framework.
import { defineClose, defineConcurrency } from './contract/concurrency.js';
import { defineDevices } from './contract/devices.js';
import { defineDiskThreshold } from './contract/disk-threshold.js';
import { ContractBench, type DriverContract } from './contract/harness.js';
import { defineImageCache } from './contract/image-cache.js';
import { defineLifecycle } from './contract/lifecycle.js';
import { defineNetwork, definePausedStart } from './contract/network.js';
import { defineRefusals } from './contract/refusals.js';
import { defineRescue } from './contract/rescue.js';
import { defineResize } from './contract/resize.js';
import { defineSnapshot } from './contract/snapshot.js';
import { defineSuspend } from './contract/suspend.js';
import { defineUndo } from './contract/undo.js';
import { defineUsage } from './contract/usage.js';

export type { ContractFramework, ContractLimits, DriverContract } from './contract/harness.js';

/**
 * Defines the suite in the framework that is passed. The tests share one driver and build on each other: they must run in
 * order, in one process. Assertions are those of node:assert.
 */
export function describeDriverContract(name: string, contract: DriverContract): void {
  const bench = new ContractBench(contract);
  const { describe, before, after } = contract;

  describe(`${name}: the contract of a compute driver`, () => {
    before(() => bench.open(), bench.spawnMs);
    // For a run that ended early: close() is idempotent, as a test below holds every driver to.
    after(() => bench.driver.close(), bench.spawnMs);

    describe('refusals', () => defineRefusals(bench));
    describe('life of an instance', () => defineLifecycle(bench));
    describe('suspend', () => defineSuspend(bench));
    describe('rescue and rebuild', () => defineRescue(bench));
    describe('resize', () => defineResize(bench));
    describe('image cache', () => defineImageCache(bench));
    describe('usage', () => defineUsage(bench));
    describe('devices', () => defineDevices(bench));
    describe('snapshot', () => defineSnapshot(bench));
    describe('disk thresholds', () => defineDiskThreshold(bench));
    describe('network', () => defineNetwork(bench));
    describe('paused start', () => definePausedStart(bench));
    describe('undo', () => defineUndo(bench));
    describe('concurrency', () => defineConcurrency(bench));
    describe('close', () => defineClose(bench));
  });
}
