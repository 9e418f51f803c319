// One operation on one instance: in its turn, under its deadline, and only on an instance that is whole.
import type { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { JournaledTask } from './journal.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';
import { notFound } from './node-errors.js';
import { checkResizeAllows } from './pending-resize.js';
import { settleChange } from './settle-change.js';
import type { OperationOptions } from './types.js';
import { refuseInState } from './vm-state.js';

/** Five minutes, the turn of others before it included. */
export const OPERATION_TIMEOUT_MS = 300_000;

/** What a guest is given to shut itself down by default: Nova's 60 s. */
export const SHUTDOWN_MS = 60_000;

export interface OperationRules {
  readonly task: string;
  readonly options: OperationOptions;
  /** Default five minutes. */
  readonly timeoutMs?: number;
  /** Written before and after: a later process finishes it. */
  readonly journaled?: JournaledTask;
}

/** Rejects with `INSTANCE_NOT_FOUND`, also where the instance was terminated while this waited for its turn. */
export async function operate<T>(
  context: NodeContext,
  uuid: string,
  rules: OperationRules,
  work: (known: KnownInstance, deadline: Deadline) => Promise<T>,
): Promise<T> {
  const { task, options } = rules;
  const call = {
    operation: task,
    instanceUuid: uuid,
    signal: options.signal,
    timeoutMs: options.timeoutMs ?? rules.timeoutMs ?? OPERATION_TIMEOUT_MS,
  };
  return await context.calls.run(call, async (deadline) => {
    const known = context.instances.get(uuid);
    if (!known) throw notFound(uuid, task);
    known.deadlines.add(deadline);
    try {
      const release = await context.locks.acquire(uuid, deadline, task, options.wait);
      try {
        if (context.instances.get(uuid) !== known) throw notFound(uuid, task);
        return await turn(context, known, deadline, rules, work);
      } finally {
        release();
      }
    } finally {
      known.deadlines.delete(deadline);
    }
  });
}

async function turn<T>(
  context: NodeContext,
  known: KnownInstance,
  deadline: Deadline,
  { task, journaled }: OperationRules,
  work: (known: KnownInstance, deadline: Deadline) => Promise<T>,
): Promise<T> {
  const { uuid } = known.instance;
  if (known.phase !== 'ready') {
    throw new ComputeError(
      'INVALID_STATE',
      `${task}: instance ${uuid} is half removed; terminate it to try again`,
      { operation: task, instanceUuid: uuid, details: { phase: known.phase } },
    );
  }
  await settleChange(context, known);
  refuseInState(known, task);
  checkResizeAllows(task, uuid, known.resize);
  known.task = task;
  const begin = performance.now();
  try {
    if (journaled) await known.journal.append({ event: 'task', task: journaled });
    const result = await work(known, deadline);
    context.log.info(`${task} of ${uuid} done`, {
      instanceUuid: uuid,
      milliseconds: performance.now() - begin,
    });
    return result;
  } finally {
    // Also after a failure: the caller was told, a later process has nothing to finish. Where it cannot be written, the
    // next start of the node starts an instance that is stopped: what was asked for.
    if (journaled) await known.journal.append({ event: 'done' }).catch(() => undefined);
    known.task = undefined;
  }
}
