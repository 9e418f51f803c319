// One operation at a time for each instance, in order of arrival; any number across instances.
import type { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { type Release, Turnstile } from './turns.js';

interface Gate {
  readonly turns: Turnstile;
  /** What has its turn, or had the last one, and since when by performance.now(). */
  running: { readonly task: string; readonly begin: number } | undefined;
}

/** What an operation finds in its way. */
interface Busy {
  readonly running: string;
  /** Milliseconds that it has run. */
  readonly sinceMs: number;
  /** Behind it in line. */
  readonly waiting: number;
}

export class InstanceLocks {
  readonly #gates = new Map<string, Gate>();

  /** Instances with an operation under way or waiting. */
  get size(): number {
    return this.#gates.size;
  }

  /**
   * Rejects with the deadline's reason when that ends first; a `TIMEOUT` then tells what was waited for. With `wait` false
   * `INSTANCE_BUSY` instead of a wait.
   */
  async acquire(uuid: string, deadline: Deadline, task: string, wait = true): Promise<Release> {
    if (!wait) this.refuseBusy(uuid, task);
    const gate = this.#gates.get(uuid) ?? { turns: new Turnstile(1), running: undefined };
    this.#gates.set(uuid, gate);
    try {
      const release = await gate.turns.enter(deadline);
      gate.running = { task, begin: performance.now() };
      return () => {
        release();
        this.#forget(uuid, gate);
      };
    } catch (error) {
      const busy = this.#busy(uuid);
      this.#forget(uuid, gate);
      throw busy && ComputeError.is(error) && error.code === 'TIMEOUT'
        ? waitedInVain(error, uuid, task, busy)
        : error;
    }
  }

  /** Throws `INSTANCE_BUSY` where an operation on it is under way. */
  refuseBusy(uuid: string, task: string): void {
    const busy = this.#busy(uuid);
    if (!busy) return;
    throw new ComputeError('INSTANCE_BUSY', `${task} of instance ${uuid}: ${inWords(busy)}; try again`, {
      operation: task,
      instanceUuid: uuid,
      retryable: true,
      details: { ...busy },
    });
  }

  #busy(uuid: string): Busy | undefined {
    const gate = this.#gates.get(uuid);
    if (!gate?.running || gate.turns.size === 0) return undefined;
    const { task, begin } = gate.running;
    return {
      running: task,
      sinceMs: Math.round(performance.now() - begin),
      waiting: Math.max(0, gate.turns.size - 1),
    };
  }

  #forget(uuid: string, gate: Gate): void {
    if (gate.turns.size === 0 && this.#gates.get(uuid) === gate) this.#gates.delete(uuid);
  }
}

function inWords({ running, sinceMs, waiting }: Busy): string {
  return `its ${running} has been under way for ${sinceMs} ms, ${waiting} more in line`;
}

function waitedInVain(error: ComputeError, uuid: string, task: string, busy: Busy): ComputeError {
  return new ComputeError(
    error.code,
    `${task} of instance ${uuid} waited in vain for its turn: ${inWords(busy)}; try again, or with a longer timeoutMs`,
    {
      operation: task,
      instanceUuid: uuid,
      retryable: true,
      cause: error,
      details: { ...error.details, ...busy },
    },
  );
}
