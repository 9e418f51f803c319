// What all commands on an instance have in common: its event, what a failure leaves, that it may be asked for twice.
import type { ComputeHost } from './compute-host.js';
import { RemoteError } from './errors.js';
import { type Fields, InstanceRecord, isGoing, powerCode, reasonOf } from './instance-record.js';
import type { RpcMethod } from './rpc-endpoint.js';

export type CommandArguments = Readonly<Record<string, unknown>>;

export interface InstanceCommand {
  /** Nova's name of it in the events of an action. */
  readonly event: string;
  /** Task states in which one that an earlier process took has still to be done. */
  readonly pending: readonly (string | null)[];
  /** `isRepeated`: an earlier process may have done some of it. */
  run(record: InstanceRecord, args: CommandArguments, isRepeated: boolean): Promise<void>;
  /** What a failure writes of the instance. Default: no task, and the state that the hypervisor tells. */
  left?(): Fields;
  /** Beside the common: of a failure, once the record tells what is left. */
  failed?(record: InstanceRecord, args: CommandArguments, error: unknown): Promise<void>;
}

/** A method whose failure is told to the user, and leaves the instance without a task. */
export function instanceCommand(host: ComputeHost, command: InstanceCommand): RpcMethod {
  return async (args, { context, isRepeated, method }) => {
    const record = new InstanceRecord(host, args['instance'], context);
    const about = { instanceUuid: record.uuid, requestId: context['request_id'], method };
    await host.busy.during(record.uuid, async () => {
      const begin = performance.now();
      if (isRepeated && !(await record.isPending(command.pending))) {
        host.log.info(`${method} of ${record.uuid} was done by an earlier process`, about);
        await record.finishEvent(command.event);
        return;
      }
      await record.startEvent(command.event);
      try {
        await command.run(record, args, isRepeated);
      } catch (error) {
        if (host.signal.aborted) throw error;
        await fail(host, command, record, args, error);
        throw error;
      }
      await record.finishEvent(command.event);
      const milliseconds = Math.round(performance.now() - begin);
      host.log.info(`${method} of ${record.uuid} took ${milliseconds} ms`, { ...about, milliseconds });
    });
  };
}

async function fail(
  host: ComputeHost,
  command: InstanceCommand,
  record: InstanceRecord,
  args: CommandArguments,
  error: unknown,
): Promise<void> {
  if (!isGoing(error)) {
    try {
      // Without the changes that could not be saved. Where its task is another one by now, that decides.
      const isThere = await record.refresh();
      const isOurs = isThere && !RemoteError.of(error, 'UnexpectedTaskStateError');
      if (isOurs) await record.save(command.left?.() ?? (await whatIsLeft(host, record)));
      if (isThere) await command.failed?.(record, args, error);
    } catch (cause) {
      if (host.signal.aborted) throw cause;
      host.log.warn(`the failure of ${record.uuid} could not be told: ${reasonOf(cause)}`, {
        kind: 'not-told',
        instanceUuid: record.uuid,
      });
    }
    await record.fault(error);
  }
  await record.finishEvent(command.event, error);
}

/** The node puts back what it could not do: only one that should run, and does not, is broken. */
async function whatIsLeft(host: ComputeHost, record: InstanceRecord): Promise<Record<string, unknown>> {
  if (record.object.get('host') !== host.name) return { task_state: null };
  const power = await record.powerState();
  const isBroken = record.vmState === 'active' && power !== 'running';
  return { task_state: null, power_state: powerCode(power), ...(isBroken && { vm_state: 'error' }) };
}
