// A launch that lasts through outages of the hypervisor and of Glance, and through the death of the process that began it.
import { ComputeError } from '../driver/errors.js';
import type { LaunchOptions, LaunchRequest, LaunchResult } from '../node/types.js';
import type { ComputeHost } from './compute-host.js';
import { type InstanceRecord, isDeletion } from './instance-record.js';
import { outlast } from './outage.js';

export interface LaunchThroughOptions extends Pick<LaunchOptions, 'beforeRun'> {
  /** What stands may have been launched by an earlier process. */
  readonly isRepeated: boolean;
}

/**
 * Again and again while the hypervisor or Glance are away, until the instance is deleted. What was left half made, by an
 * outage or by an earlier process, goes before it is made anew. Undefined: an earlier process has launched it.
 */
export async function launchThrough(
  host: ComputeHost,
  record: InstanceRecord,
  request: LaunchRequest,
  { isRepeated, ...options }: LaunchThroughOptions,
): Promise<LaunchResult | undefined> {
  const { node, signal } = host;
  const { uuid } = record;
  const launch = (): Promise<LaunchResult> => node.launch(request, { ...options, signal });
  const anew = async (): Promise<LaunchResult> => {
    await node.terminate(uuid, { signal });
    return await launch();
  };
  const first = async (): Promise<LaunchResult | undefined> => {
    try {
      return await launch();
    } catch (error) {
      const phase = phaseOf(error);
      if (isRepeated && phase === 'ready') return undefined;
      if (phase === 'broken') return await anew();
      throw error;
    }
  };
  return await outlast(
    host,
    uuid,
    (isAgain) => (isAgain ? anew() : first()),
    async () => (await record.refresh()) && !isDeletion(record.taskState),
  );
}

/** In which the node has what stands already. */
function phaseOf(error: unknown): unknown {
  return ComputeError.is(error) && error.code === 'INSTANCE_EXISTS' ? error.details['phase'] : undefined;
}
