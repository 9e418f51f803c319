// A launch that is aborted, late or refused by its caller leaves nothing, whichever step it has reached.
import { ComputeError } from '../errors.js';
import type { Instance } from '../model.js';
import { type ContractBench, expectError } from './harness.js';

export function defineUndo(bench: ContractBench): void {
  const { it } = bench.contract;

  for (const step of ['image', 'network'] as const) {
    it(
      `leaves nothing when it is aborted before step ${step}`,
      async () => {
        const instance = await bench.contract.makeInstance();
        const controller = new AbortController();
        const spawn = bench.driver.spawn(instance, {
          signal: controller.signal,
          timeoutMs: bench.spawnMs,
          onStep: (begun) => {
            if (begun === step) controller.abort();
          },
        });
        await expectError(spawn, ['ABORTED']);
        await bench.assertNothingLeft(instance);
      },
      bench.spawnMs,
    );
  }

  for (const step of ['definition', 'start'] as const) {
    it(
      `leaves nothing when it is aborted within step ${step}`,
      async () => {
        const instance = await bench.contract.makeInstance();
        const controller = new AbortController();
        const spawn = bench.driver.spawn(instance, {
          signal: controller.signal,
          timeoutMs: bench.spawnMs,
          onStep: (begun) => {
            // A moment later, so that the step's effects are under way.
            if (begun === step) setImmediate(() => controller.abort());
          },
        });
        await settleAborted(bench, spawn, instance);
      },
      bench.spawnMs,
    );
  }

  it(
    'leaves nothing when it is late',
    async () => {
      const instance = await bench.contract.makeInstance();
      const spawn = bench.driver.spawn(instance, {
        timeoutMs: 500,
        onStep: (step) =>
          step === 'start' ? new Promise<void>((resolve) => void setTimeout(resolve, 700)) : undefined,
      });
      const error = await expectError(spawn, ['TIMEOUT']);
      if (!error.retryable) throw new Error('a TIMEOUT must be retryable');
      await bench.assertNothingLeft(instance);
    },
    bench.spawnMs,
  );

  it(
    'leaves nothing when its caller refuses a step, and passes on why',
    async () => {
      const instance = await bench.contract.makeInstance();
      const spawn = bench.driver.spawn(instance, {
        timeoutMs: bench.spawnMs,
        onStep: async (step) => {
          if (step === 'network') throw new ComputeError('NO_SPACE', 'the journal has no room');
        },
      });
      await expectError(spawn, ['NO_SPACE']);
      await bench.assertNothingLeft(instance);
    },
    bench.spawnMs,
  );
}

/** A quick driver may be done before the signal fires; then the instance must stand whole. */
async function settleAborted(
  bench: ContractBench,
  spawn: Promise<unknown>,
  instance: Instance,
): Promise<void> {
  const outcome = await spawn.then(
    () => 'launched' as const,
    () => 'rejected' as const,
  );
  if (outcome === 'rejected') await expectError(spawn, ['ABORTED']);
  else {
    await bench.assertState(instance, 'running');
    await bench.driver.destroy(instance);
  }
  await bench.assertNothingLeft(instance);
}
