// The calls that are under way in a node: each with its deadline, all of them ended when the node closes.
import { Deadline, type DeadlineOptions } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import { asComputeError } from './node-errors.js';

export interface CallRules extends DeadlineOptions {
  /** Close waits for it; other calls are cut short with `CLOSED`. Default false. */
  readonly finishesOnClose?: boolean;
}

export class Calls {
  readonly #running = new Map<Deadline, { readonly finishesOnClose: boolean; done: Promise<unknown> }>();
  #closed = false;

  /**
   * Starts the work in this turn of the event loop. Rejects with `CLOSED` once {@link close} was called, and with a
   * ComputeError whatever the work rejects with.
   */
  async run<T>(rules: CallRules, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    if (this.#closed) throw closed(rules.operation, rules.instanceUuid);
    using deadline = new Deadline(rules);
    deadline.check();
    const call = {
      finishesOnClose: rules.finishesOnClose ?? false,
      done: Promise.resolve<unknown>(undefined),
    };
    this.#running.set(deadline, call);
    try {
      const result = work(deadline);
      call.done = result;
      return await result;
    } catch (error) {
      throw asComputeError(deadline.explain(error), rules.operation, rules.instanceUuid);
    } finally {
      this.#running.delete(deadline);
    }
  }

  /** Resolves when every call has settled. */
  async close(): Promise<void> {
    this.#closed = true;
    const calls = [...this.#running];
    for (const [deadline, { finishesOnClose }] of calls) {
      if (!finishesOnClose) deadline.end('CLOSED', 'was cut short: the node is closing');
    }
    await Promise.allSettled(calls.map(([, { done }]) => done));
  }
}

function closed(operation: string, instanceUuid: string | undefined): ComputeError {
  return new ComputeError('CLOSED', `${operation}: the node is closed`, { operation, instanceUuid });
}
