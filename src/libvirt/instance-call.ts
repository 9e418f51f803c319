// One call for one instance under its deadline.
import type { CallOptions } from '../driver/compute-driver.js';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { PowerState } from '../driver/model.js';
import type { CallContext } from './hypervisor.js';

/** Rejects with `ABORTED` by the caller's signal, `TIMEOUT` by its time limit, else as `work` does. */
export async function instanceCall<T>(
  operation: string,
  instanceUuid: string,
  options: CallOptions,
  defaultTimeoutMs: number,
  work: (context: CallContext & { readonly signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const { signal, timeoutMs = defaultTimeoutMs } = options;
  using deadline = new Deadline({ operation, instanceUuid, signal, timeoutMs });
  try {
    deadline.check();
    return await work({ operation, instanceUuid, signal: deadline.signal });
  } catch (error) {
    throw deadline.explain(error);
  }
}

export function wrongState(context: CallContext, state: PowerState, remedy = ''): ComputeError {
  const { operation, instanceUuid } = context;
  return new ComputeError(
    'INVALID_STATE',
    `cannot ${operation} instance ${instanceUuid}: it is ${state}${remedy && `; ${remedy}`}`,
    { operation, instanceUuid, details: { powerState: state } },
  );
}

export function rescued(context: CallContext): ComputeError {
  const { operation, instanceUuid } = context;
  return new ComputeError(
    'INVALID_STATE',
    `cannot ${operation} instance ${instanceUuid}: it is rescued; unrescue it first`,
    { operation, instanceUuid, details: { vmState: 'rescued' } },
  );
}
