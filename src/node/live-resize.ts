// Memory and vCPUs of an instance while it runs: claimed before, journaled as in doubt, and as before where it fails.
import * as v from 'valibot';
import { ComputeError, unsupported } from '../driver/errors.js';
import { MAX_MEMORY_MB } from '../driver/image-schema.js';
import type { Flavor } from '../driver/model.js';
import { check, closedObject, integer } from '../driver/schema.js';
import type { NodeContext } from './node-context.js';
import { operate } from './operation.js';
import type { PendingResize } from './pending-resize.js';
import { enter, leave } from './resize.js';
import type { LiveResizeRequest, OperationOptions } from './types.js';

const requestSchema = closedObject({
  memoryMb: v.exactOptional(integer(1, MAX_MEMORY_MB)),
  vcpus: v.exactOptional(integer(1, 1024)),
});

/** Throws `INVALID_ARGUMENT`. */
export function parseLiveResize(request: unknown): LiveResizeRequest {
  const checked = check(requestSchema, request);
  if (!checked.problems) return checked.value;
  const problems = checked.problems.map(({ path, message }) => `${path.join('.') || 'request'}: ${message}`);
  throw new ComputeError('INVALID_ARGUMENT', `liveResize: ${problems.join('; ')}`, {
    operation: 'liveResize',
    details: { problems },
  });
}

export async function liveResizeInstance(
  context: NodeContext,
  uuid: string,
  request: LiveResizeRequest,
  options: OperationOptions,
): Promise<void> {
  const { driver, tracker } = context;
  await operate(context, uuid, { task: 'liveResize', options }, async (known, { signal }) => {
    if (!driver.capabilities.liveResize) throw unsupported(driver.name, 'liveResize', uuid);
    const { instance, diskGb } = known;
    const old = { flavor: instance.flavor, diskGb };
    const flavor: Flavor = { ...instance.flavor, ...request };
    const resize: PendingResize = { phase: 'live', old, new: { flavor, diskGb }, powerOn: true };
    tracker.change(uuid, largest(old.flavor, flavor), { diskGb });
    let done = false;
    try {
      await enter(known, resize);
      await driver.liveResize(instance, flavor, { signal });
      done = true;
      await leave(known, resize.new);
      tracker.change(uuid, flavor, { diskGb });
    } catch (error) {
      // Nobody knows what came of it: that stays to be reverted.
      if (ComputeError.is(error) && error.code === 'CONNECTION_LOST') throw error;
      if (done) await driver.liveResize({ ...instance, flavor }, old.flavor);
      tracker.change(uuid, old.flavor, { diskGb });
      await leave(known, old);
      throw error;
    }
  });
}

/** Claimed until the one or the other is certain. */
function largest(one: Flavor, other: Flavor): Flavor {
  const vcpus = Math.max(one.vcpus, other.vcpus);
  return { ...one, vcpus, memoryMb: Math.max(one.memoryMb, other.memoryMb) };
}
