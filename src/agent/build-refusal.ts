// A build whose message has a wrong argument: its server ends in ERROR, where that message is the truth in the rest.
import { AWAITED, EVENT, FAILED, NOWHERE } from './build-states.js';
import { type ComputeHost, stands } from './compute-host.js';
import { RemoteError } from './errors.js';
import { InstanceRecord, isGoing, isUuid } from './instance-record.js';
import { NovaObject } from './nova-object.js';
import { persist } from './persist.js';
import type { RpcMethod } from './rpc-endpoint.js';

/**
 * Of a build whose message has a wrong argument: no other host would take it, and nobody else ends its server. Only where all that is
 * stored says that the server was sent here, and nobody is at work on it: else the message is not the truth, and changes nothing.
 */
export function buildRefusal(host: ComputeHost): NonNullable<RpcMethod['refuse']> {
  const { conductor, placement, signal, busy } = host;
  return async ({ instance }, { context, isRepeated }, error) => {
    const uuid = instance instanceof NovaObject ? instance.get('uuid') : undefined;
    if (!isUuid(uuid) || busy.has(uuid)) return;
    await busy.during(uuid, async () => {
      // Of the message not one field more.
      const stored = await persist(signal, () => conductor.instance(uuid, [], { context, signal })).catch(
        unlessNotFound,
      );
      if (!stored) return;
      const record = new InstanceRecord(host, stored, context);
      const isTold = isRepeated && record.vmState === 'error';
      const isAwaited = record.vmState === 'building' && AWAITED.includes(record.taskState as string | null);
      if (!isTold && !isAwaited) return;
      if (![null, undefined, host.name].includes(stored.get('host') as string)) return;
      const { allocations } = await persist(signal, () => placement.consumer(uuid));
      if (!Object.hasOwn(allocations, host.nodeUuid) || (await stands(host, uuid))) return;
      await refuseStored(host, record, isTold, error);
    });
  };
}

/** `isTold`: an earlier process may not have lived to do the rest. */
async function refuseStored(
  host: ComputeHost,
  record: InstanceRecord,
  isTold: boolean,
  error: unknown,
): Promise<void> {
  await record.startEvent(EVENT);
  try {
    if (!isTold) await record.save({ ...FAILED, ...NOWHERE }, AWAITED);
    await record.fault(error);
    await persist(host.signal, () => host.placement.removeConsumer(record.uuid));
  } catch (cause) {
    // It is deleted, or somebody works on it after all.
    if (!isGoing(cause) && !RemoteError.of(cause, 'UnexpectedTaskStateError')) throw cause;
  }
  await record.finishEvent(EVENT, error);
}

function unlessNotFound(error: unknown): undefined {
  if (!RemoteError.of(error, 'InstanceNotFound')) throw error;
}
