// Placement's optimistic locking: a change is made against a generation, and made again where that was not the newest.
import { setTimeout as sleep } from 'node:timers/promises';
import { ComputeError } from '../../driver/errors.js';
import { GenerationConflict } from './placement-api.js';

/** Beyond Nova's four: each try is one read and one write. */
const TRIES = 8;
const PAUSE_MS = 20;

/** The work reads the generation anew each time. Rejects with `PLACEMENT_FAILED` where others are always faster. */
export async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof GenerationConflict)) throw error;
      if (tries === TRIES) {
        throw new ComputeError(
          'PLACEMENT_FAILED',
          `Placement: ${error.message}: others changed it at the same time, ${TRIES} times in a row`,
          { operation: 'placement', retryable: true },
        );
      }
      await sleep(PAUSE_MS * tries * Math.random());
    }
  }
}
