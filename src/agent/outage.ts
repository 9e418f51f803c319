// The hypervisor and Glance, away for a while: what they fail is done again once they are back.
import { ComputeError } from '../driver/errors.js';
import type { ComputeNode } from '../node/compute-node.js';
import type { Logger } from '../node/types.js';
import { Backoff } from './backoff.js';
import { isOfRpc } from './rpc-client.js';

/** A daemon is started again within seconds. */
const MOST_PAUSE_MS = 5000;

export interface OutageOptions {
  readonly node: Pick<ComputeNode, 'service'>;
  readonly outageTimeoutMs: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Does work that may be done twice, again and again while the hypervisor or Glance fail it, for `outageTimeoutMs` from the first
 * failure on; while the hypervisor is known to be away it does not begin. `isWanted` is asked before each further try.
 * Rejects with the work's error, and with the signal's reason.
 */
export async function outlast<T>(
  { node, signal, log, outageTimeoutMs }: OutageOptions,
  instanceUuid: string,
  work: (isAgain: boolean) => Promise<T>,
  isWanted: () => Promise<boolean> = async () => true,
): Promise<T> {
  const backoff = new Backoff({ mostMs: MOST_PAUSE_MS });
  let end: number | undefined;
  /** At least one pause: the call that failed may be quicker than the news of the loss. False: the time is over. */
  const wait = async (why: string): Promise<boolean> => {
    end ??= performance.now() + outageTimeoutMs;
    log.warn(`what is asked of ${instanceUuid} waits for a service that is away: ${why}`, {
      kind: 'outage',
      instanceUuid,
    });
    do await backoff.pause(signal);
    while (isDown(node) && performance.now() < end);
    return performance.now() < end;
  };
  if (isDown(node)) await wait('the hypervisor cannot be reached');
  for (let isAgain = false; ; isAgain = true) {
    try {
      return await work(isAgain);
    } catch (error) {
      if (!isOutage(error) || !(await wait(error.message)) || !(await isWanted())) throw error;
    }
  }
}

/** Waits for a hypervisor that is known to be away, for `outageTimeoutMs`. What is begun then tells whether it is back. */
export async function awaitHypervisor(options: OutageOptions, instanceUuid: string): Promise<void> {
  if (isDown(options.node)) await outlast(options, instanceUuid, async () => undefined);
}

function isDown({ service }: OutageOptions['node']): boolean {
  return service.status.state === 'down';
}

function isOutage(error: unknown): error is ComputeError {
  if (!ComputeError.is(error)) return false;
  if (error.code === 'IMAGE_DOWNLOAD_FAILED') return error.retryable;
  // Of a launch that could not be undone, too, which is not retryable by itself.
  return error.code === 'CONNECTION_LOST' && !isOfRpc(error);
}
