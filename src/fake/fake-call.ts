// One call of a FakeDriver under its deadline: where faults strike and time is spent.
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { FaultPoint, Faults } from './faults.js';

export interface FakeCallOptions {
  readonly operation: string;
  readonly instanceUuid?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export class FakeCall implements Disposable {
  readonly deadline: Deadline;
  readonly operation: string;
  readonly instanceUuid: string | undefined;
  readonly #faults: Faults;

  constructor(faults: Faults, options: FakeCallOptions) {
    this.#faults = faults;
    this.operation = options.operation;
    this.instanceUuid = options.instanceUuid;
    this.deadline = new Deadline(options);
  }

  /** Passes a point where a fault may strike; rejects when the call is over. */
  async point(at: FaultPoint): Promise<void> {
    this.deadline.check();
    await this.strike(at);
    this.deadline.check();
  }

  /** As {@link point} for undo steps: deadlines do not stop those. */
  async strike(at: FaultPoint): Promise<void> {
    const action = this.#faults.take(at, this.instanceUuid);
    if (!action) return;
    if ('fail' in action) throw this.#failure(action.fail);
    const { leave } = this.#faults.enter(at);
    try {
      if ('delayMs' in action)
        await (at === 'spawn.undo' ? elapse(action.delayMs) : this.wait(action.delayMs));
      else if (action.hang === 'deaf') await this.#faults.deaf();
      else await this.deadline.race(new Promise<never>(() => undefined));
    } finally {
      leave();
    }
  }

  /** Simulated work: keeps the process alive as real work does, ends early with the call. */
  async wait(milliseconds: number): Promise<void> {
    if (milliseconds <= 0) return;
    let timer: NodeJS.Timeout | undefined;
    const elapsed = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, milliseconds);
    });
    try {
      await this.deadline.race(elapsed);
    } finally {
      clearTimeout(timer);
    }
  }

  notFound(): ComputeError {
    return new ComputeError('INSTANCE_NOT_FOUND', `there is no instance ${this.instanceUuid}`, {
      operation: this.operation,
      instanceUuid: this.instanceUuid,
    });
  }

  invalidState(message: string): ComputeError {
    return new ComputeError(
      'INVALID_STATE',
      `${this.operation} of instance ${this.instanceUuid}: ${message}`,
      {
        operation: this.operation,
        instanceUuid: this.instanceUuid,
      },
    );
  }

  #failure(error: Error): ComputeError {
    if (ComputeError.is(error)) return error;
    return new ComputeError('HYPERVISOR', `${this.operation} failed: ${error.message}`, {
      operation: this.operation,
      instanceUuid: this.instanceUuid,
      cause: error,
    });
  }

  [Symbol.dispose](): void {
    this.deadline[Symbol.dispose]();
  }
}

function elapse(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}
