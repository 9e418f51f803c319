// A launch that lasts through outages of the hypervisor and of Glance.
import type { LaunchOptions, LaunchRequest, LaunchResult } from '../node/types.js';
import type { ComputeHost } from './compute-host.js';
import { type InstanceRecord, isDeletion } from './instance-record.js';
import { outlast } from './outage.js';

/**
 * Again and again while the hypervisor or Glance are away, until the instance is deleted. What a loss of the hypervisor left
 * half made goes before it is made anew.
 */
export async function launchThrough(
  host: ComputeHost,
  record: InstanceRecord,
  request: LaunchRequest,
  options: Pick<LaunchOptions, 'beforeRun'> = {},
): Promise<LaunchResult> {
  const { node, signal } = host;
  const { uuid } = record;
  const launch = async (isAgain: boolean): Promise<LaunchResult> => {
    if (isAgain) await node.terminate(uuid, { signal });
    return await node.launch(request, { ...options, signal });
  };
  return await outlast(
    host,
    uuid,
    launch,
    async () => (await record.refresh()) && !isDeletion(record.taskState),
  );
}
