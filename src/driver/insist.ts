// What must not be left undone, by a hypervisor that is away for a while.
import { ComputeError } from './errors.js';

const RETRY_MS = 250;

/** What is undone must be undone: it waits for a daemon that is being started again, until `timeoutMs` are over. */
export async function insist(timeoutMs: number, work: () => Promise<unknown>): Promise<void> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      const lost = ComputeError.is(error) && error.code === 'CONNECTION_LOST';
      if (!lost || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
