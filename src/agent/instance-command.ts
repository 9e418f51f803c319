// What all commands on an instance have in common: its event, what a failure leaves, that it may be asked for twice.
import type { PowerState } from '../driver/model.js';
import type { ComputeHost } from './compute-host.js';
import { RemoteError } from './errors.js';
import { type Fields, InstanceRecord, isDeletion, isGoing, powerCode, reasonOf } from './instance-record.js';
import { awaitHypervisor, outlast } from './outage.js';
import type { RpcMethod } from './rpc-endpoint.js';
import { spentError } from './spent-error.js';

export type CommandArguments = Readonly<Record<string, unknown>>;

export interface InstanceCommand {
  /** Nova's name of it in the events of an action. */
  readonly event: string;
  /** Task states in which one that an earlier process took has still to be done. */
  readonly pending: readonly (string | null)[];
  /** The task of a deletion is its own. Else it is another command's, and stays whatever becomes of this one. */
  readonly isDeletion?: true;
  /** Its parts wait for what is away by themselves: it is not run again by this process. Default false. */
  readonly isOnce?: boolean;
  /** `isRepeated`: an earlier process, or try, may have done some of it. */
  run(record: InstanceRecord, args: CommandArguments, isRepeated: boolean): Promise<void>;
  /** What a failure writes of the instance. Default: no task, and the state that the hypervisor tells. */
  left?(): Fields;
  /** Beside the common: of a failure, once the record tells what is left. */
  failed?(record: InstanceRecord, args: CommandArguments, error: unknown): Promise<void>;
  /** Of a failure, also where the instance is gone: what was made beside it goes. Must not reject. */
  discard?(record: InstanceRecord, args: CommandArguments): Promise<void>;
}

/** A method whose failure is told to the user, and leaves the instance without a task. */
export function instanceCommand(host: ComputeHost, command: InstanceCommand): RpcMethod {
  const run: RpcMethod = async (args, { context, isRepeated, method }) => {
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
        await runThrough(host, command, record, args, isRepeated);
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
  return Object.assign(run, { abandon: abandonment(host, command) });
}

/** A try that the hypervisor or Glance failed is to the next one what an earlier process is. */
async function runThrough(
  host: ComputeHost,
  command: InstanceCommand,
  record: InstanceRecord,
  args: CommandArguments,
  isRepeated: boolean,
): Promise<void> {
  if (command.isOnce) {
    await awaitHypervisor(host, record.uuid);
    await command.run(record, args, isRepeated);
    return;
  }
  const run = (isAgain: boolean): Promise<void> => command.run(record, args, isRepeated || isAgain);
  await outlast(host, record.uuid, run, () => record.isPending(command.pending));
}

/** As a failure, but for what the hypervisor would say: to ask it may be what killed the processes. */
function abandonment(host: ComputeHost, command: InstanceCommand): NonNullable<RpcMethod['abandon']> {
  return async (args, { context, method }) => {
    const record = new InstanceRecord(host, args['instance'], context);
    await host.busy.during(record.uuid, async () => {
      const error = spentError(method, record.uuid);
      if (await record.isPending(command.pending)) {
        await settle(command, record, command.left?.() ?? { task_state: null });
        await record.fault(error);
        await command.failed?.(record, args, error);
        await command.discard?.(record, args);
      }
      await record.finishEvent(command.event, error);
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
      if (isOurs) await settle(command, record, command.left?.() ?? (await whatIsLeft(host, record)));
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
  await command.discard?.(record, args);
  await record.finishEvent(command.event, error);
}

/** Of a record that has just been read. */
async function settle(command: InstanceCommand, record: InstanceRecord, fields: Fields): Promise<void> {
  const { task_state: _task, ...rest } = fields;
  const isAnothers = isDeletion(record.taskState) && command.isDeletion !== true;
  try {
    await record.save(isAnothers ? rest : fields, [record.taskState as string | null]);
  } catch (error) {
    // It has another one since, whose command tells the rest.
    if (!isGoing(error) && !RemoteError.of(error, 'UnexpectedTaskStateError')) throw error;
  }
}

/** The node puts back what it could not do: only one that should run, and does not, is broken. */
async function whatIsLeft(host: ComputeHost, record: InstanceRecord): Promise<Record<string, unknown>> {
  if (record.object.get('host') !== host.name) return { task_state: null };
  const power = await knownPower(host, record);
  // The comparison with the hypervisor tells it as soon as that is back.
  if (power === undefined) return { task_state: null };
  const isBroken = record.vmState === 'active' && power !== 'running';
  return { task_state: null, power_state: powerCode(power), ...(isBroken && { vm_state: 'error' }) };
}

async function knownPower(host: ComputeHost, record: InstanceRecord): Promise<PowerState | undefined> {
  try {
    return await record.powerState();
  } catch (error) {
    if (host.signal.aborted) throw error;
    return undefined;
  }
}
