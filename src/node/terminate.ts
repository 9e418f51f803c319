// The end of an instance: whatever it is in the middle of is cut short, then everything of it goes.
import type { Deadline } from '../driver/deadline.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';
import { forget, removeFromHost } from './removal.js';
import type { OperationOptions } from './types.js';

const TERMINATE_TIMEOUT_MS = 300_000;

/** Idempotent: an instance that is not there is success. What could not be removed stays known; call it again. */
export async function terminateInstance(
  context: NodeContext,
  uuid: string,
  options: OperationOptions,
): Promise<void> {
  const rules = {
    operation: 'terminate',
    instanceUuid: uuid,
    signal: options.signal,
    timeoutMs: options.timeoutMs ?? TERMINATE_TIMEOUT_MS,
    finishesOnClose: true,
  };
  await context.calls.run(rules, async (deadline) => {
    const known = context.instances.get(uuid);
    if (!known) return;
    if (options.wait === false) context.locks.refuseBusy(uuid, 'terminate');
    cutShort(known);
    const release = await context.locks.acquire(uuid, deadline, 'terminate');
    try {
      // A launch that was cut short, or another terminate, may have removed it in the meantime.
      if (context.instances.get(uuid) === known) await remove(context, known, deadline);
    } finally {
      release();
    }
  });
}

function cutShort({ deadlines }: KnownInstance): void {
  for (const deadline of deadlines) deadline.end('ABORTED', 'was cut short by its termination');
}

async function remove(context: NodeContext, known: KnownInstance, deadline: Deadline): Promise<void> {
  const { uuid } = known.instance;
  known.task = 'terminate';
  const begin = performance.now();
  try {
    await known.journal.append({ event: 'terminate' });
    known.phase = 'terminating';
    await removeFromHost(context, known, deadline);
    await known.journal.remove();
  } finally {
    known.task = undefined;
  }
  forget(context, known);
  context.publish({ type: 'terminated', timestamp: Date.now(), uuid });
  context.log.info(`instance ${uuid} is terminated`, {
    instanceUuid: uuid,
    totalMs: performance.now() - begin,
  });
}
