// What commands on an instance's devices have in common: their event, and a fault where they fail. An instance has no task meanwhile.
import type { ComputeHost } from './compute-host.js';
import type { CommandArguments } from './instance-command.js';
import { InstanceRecord } from './instance-record.js';
import type { RpcMethod } from './rpc-endpoint.js';
import { spentError } from './spent-error.js';

export interface DeviceCommand<T> {
  /** `isRepeated`: an earlier process may have done some of it. */
  run(record: InstanceRecord, args: CommandArguments, isRepeated: boolean): Promise<T>;
  /** Of one that too many processes died under: what is half made goes. */
  giveUp?(record: InstanceRecord, args: CommandArguments): Promise<void>;
}

export function deviceCommand<T>(host: ComputeHost, name: string, command: DeviceCommand<T>): RpcMethod {
  const event = `compute_${name}`;
  const run: RpcMethod = async (args, { context, isRepeated }) => {
    const record = new InstanceRecord(host, args['instance'], context);
    const { uuid } = record;
    return await host.busy.during(uuid, async () => {
      await record.startEvent(event);
      try {
        const result = await command.run(record, args, isRepeated);
        await record.finishEvent(event);
        host.log.info(`${name} of ${uuid} is done`, { instanceUuid: uuid, requestId: context['request_id'] });
        return result;
      } catch (error) {
        if (host.signal.aborted) throw error;
        await record.fault(error);
        await record.finishEvent(event, error);
        throw error;
      }
    });
  };
  const abandon: NonNullable<RpcMethod['abandon']> = async (args, { context, method }) => {
    const record = new InstanceRecord(host, args['instance'], context);
    await host.busy.during(record.uuid, async () => {
      const error = spentError(method, record.uuid);
      // First: the rest may be what ended the processes.
      await record.fault(error);
      await command.giveUp?.(record, args);
      await record.finishEvent(event, error);
    });
  };
  return Object.assign(run, { abandon });
}
