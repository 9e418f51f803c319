// unshelve_instance: a server that had left its host is built here, from the image that its disk became.
import { ComputeError } from '../driver/errors.js';
import { refuseVolumes } from './cinder/refuse-volumes.js';
import type { ComputeHost } from './compute-host.js';
import { type CommandArguments, instanceCommand } from './instance-command.js';
import { InstanceRecord, isDeletion, isGoing, powerCode, reasonOf } from './instance-record.js';
import { launchRequest } from './launch-message.js';
import { launchThrough } from './launch-through.js';
import { InfoCache } from './neutron/info-cache.js';
import type { PluggedNetworks } from './neutron/instance-networks.js';
import { ownerOf } from './neutron/network-wish.js';
import { noNeutron } from './neutron/no-neutron.js';
import { outlast } from './outage.js';
import { persist } from './persist.js';
import type { RpcInvocation, RpcMethod } from './rpc-endpoint.js';
import { leaveNetworks, saveRunning } from './shelved.js';
import { spentError } from './spent-error.js';

const ASKED = 'unshelving';
const SPAWNING = 'spawning';
/** What a launch needs, and a command is not always sent with. */
const ATTRIBUTES = ['flavor', 'keypairs', 'metadata', 'system_metadata'];

/** Nova's ComputeManager.unshelve_instance. One that is shelved and still on its host is started, by start_instance. */
export function unshelveCommand(host: ComputeHost): RpcMethod {
  const command = instanceCommand(host, {
    event: 'compute_unshelve_instance',
    // Its failure gives the allocations up. The launch waits by itself.
    isOnce: true,
    pending: [ASKED, SPAWNING],
    run: async (record, args, isRepeated) => {
      await record.save({ task_state: SPAWNING }, isRepeated ? [ASKED, SPAWNING] : [ASKED]);
      refuseOther(record);
      if (isRepeated) await refuseGivenUp(host, record);
      await unshelve(host, record, args, isRepeated);
      await host.schedulers.update(host.name, [record.object], record.call).catch(() => undefined);
    },
  });
  const { abandon } = command;
  return Object.assign(command, {
    abandon: async (args: CommandArguments, invocation: RpcInvocation): Promise<void> => {
      await abandon?.(args, invocation);
      const record = new InstanceRecord(host, args['instance'], invocation.context);
      const isHere = (await record.refresh()) && record.object.get('host') === host.name;
      if (isHere && record.vmState === 'shelved_offloaded') {
        await giveUp(host, record, true, spentError(invocation.method, record.uuid));
      }
    },
  });
}

async function unshelve(
  host: ComputeHost,
  record: InstanceRecord,
  args: CommandArguments,
  isRepeated: boolean,
): Promise<void> {
  const { name, nodeName, conductor, signal } = host;
  let mayStand = isRepeated;
  try {
    await refuseVolumes(host, record);
    await record.save({ host: name, node: nodeName, launched_on: name });
    const stored = await persist(signal, () => conductor.instance(record.uuid, ATTRIBUTES, record.call));
    const request = launchRequest(stored, { image: args['image'] });
    using networks = await arrive(host, record);
    const { requests = [], plugged } = networks ?? {};
    mayStand = true;
    const options = { isRepeated, ...(plugged && { beforeRun: plugged }) };
    await launchThrough(host, record, { ...request, networks: requests }, options);
    const fields = {
      vm_state: 'active',
      task_state: null,
      power_state: powerCode(await record.powerState()),
      launched_at: new Date(),
    };
    await saveRunning(host, record, fields, SPAWNING);
  } catch (error) {
    // What stands is not of this command.
    if (!isRepeated && ComputeError.is(error) && error.code === 'INSTANCE_EXISTS') mayStand = false;
    if (!signal.aborted) await giveUp(host, record, mayStand, error);
    throw error;
  }
}

/** Undefined: it has none. */
async function arrive(
  { networks, conductor, signal }: ComputeHost,
  record: InstanceRecord,
): Promise<PluggedNetworks | undefined> {
  const { uuid, call } = record;
  if (networks) return await networks.arrive(ownerOf(record), call);
  if ((await new InfoCache(conductor, signal).read(uuid, call)).length > 0) throw noNeutron(uuid);
  return undefined;
}

/** It stays shelved, on no host, and its image and its ports stay. */
async function giveUp(
  host: ComputeHost,
  record: InstanceRecord,
  mayStand: boolean,
  error: unknown,
): Promise<void> {
  const { node, placement, signal, log } = host;
  const { uuid } = record;
  try {
    if (mayStand) await outlast(host, uuid, () => node.terminate(uuid, { signal }));
  } catch (cause) {
    if (signal.aborted) throw cause;
    // Something still stands here: it stays this host's, with its allocations, for its user to delete.
    log.warn(`what was built of ${uuid} is not removed: ${reasonOf(cause)}`, { instanceUuid: uuid });
    return;
  }
  await leaveNetworks(host, record);
  await persist(signal, () => placement.removeConsumer(uuid));
  if (isGoing(error) || !(await record.refresh()) || isDeletion(record.taskState)) return;
  await record.save({ host: null, node: null });
}

/** By an earlier process, which did not live to say so: the scheduler's allocation is gone. */
async function refuseGivenUp(host: ComputeHost, { uuid, object }: InstanceRecord): Promise<void> {
  if (object.get('host') === host.name) return;
  const { allocations } = await persist(host.signal, () => host.placement.consumer(uuid));
  if (Object.hasOwn(allocations, host.nodeUuid)) return;
  throw new ComputeError('CLOSED', `the agent ended while it unshelved instance ${uuid}, and gave it up`, {
    operation: 'unshelve',
    instanceUuid: uuid,
  });
}

/** As it is stored: what has a host is not built again. */
function refuseOther({ uuid, vmState, object }: InstanceRecord): void {
  if (vmState === 'shelved_offloaded') return;
  throw new ComputeError(
    'INVALID_STATE',
    `instance ${uuid} has not left its host ${String(object.get('host'))}, and is not built here`,
    { operation: 'unshelve', instanceUuid: uuid },
  );
}
