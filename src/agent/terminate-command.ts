// terminate_instance: nothing of the server is left, on the host, in Placement, in the database.
import type { ComputeHost } from './compute-host.js';
import { dropTokens } from './consoles.js';
import { RemoteError } from './errors.js';
import { InstanceRecord, reasonOf } from './instance-record.js';
import { outlast } from './outage.js';
import { persist } from './persist.js';
import type { RpcMethod } from './rpc-endpoint.js';
import { spentError } from './spent-error.js';

const EVENT = 'compute_terminate_instance';
/** The record was destroyed before. */
const GONE: readonly string[] = ['InstanceNotFound', 'ObjectActionError', 'OrphanedObjectError'];

/** Nova's ComputeManager.terminate_instance. Each part may be done already. */
export function terminateCommand(host: ComputeHost): RpcMethod {
  const run: RpcMethod = async (args, { context }) => {
    const record = new InstanceRecord(host, args['instance'], context);
    const about = { instanceUuid: record.uuid, requestId: context['request_id'] };
    await host.busy.during(record.uuid, async () => {
      await record.startEvent(EVENT);
      try {
        await terminate(host, record);
      } catch (error) {
        if (host.signal.aborted) throw error;
        await tellFailure(record, error);
        throw error;
      }
      await record.finishEvent(EVENT);
      host.log.info(`instance ${record.uuid} was terminated`, about);
    });
  };
  const abandon: RpcMethod['abandon'] = async (args, { context, method }) => {
    const record = new InstanceRecord(host, args['instance'], context);
    await host.busy.during(record.uuid, async () => {
      if (await record.refresh()) await tellFailure(record, spentError(method, record.uuid));
    });
  };
  return Object.assign(run, { abandon });
}

/** It can be asked for again: without its task, nobody here goes on with it. */
async function tellFailure(record: InstanceRecord, error: unknown): Promise<void> {
  await unlessGone(() => record.save({ vm_state: 'error', task_state: null }));
  await record.fault(error);
  await record.finishEvent(EVENT, error);
}

/** Rejects with what the node says. */
export async function terminate(host: ComputeHost, record: InstanceRecord): Promise<void> {
  const { node, placement, schedulers, conductor, signal, log } = host;
  const { uuid, call } = record;
  await outlast(host, uuid, () => node.terminate(uuid, { signal }));
  await host.networks?.release(uuid, [], call);
  await host.volumes?.release(record);
  const fields = { power_state: 0, vm_state: 'deleted', task_state: null, terminated_at: new Date() };
  await unlessGone(() => record.save(fields));
  await persist(signal, () => placement.removeConsumer(uuid));
  await schedulers.remove(host.name, uuid, call).catch((error: unknown) => {
    log.debug(`the schedulers did not hear that ${uuid} is gone: ${reasonOf(error)}`, { instanceUuid: uuid });
  });
  await dropTokens(host, record);
  await unlessGone(() => persist(signal, () => conductor.destroy(record.object, call)));
}

async function unlessGone(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!GONE.some((one) => RemoteError.of(error, one))) throw error;
  }
}
