// Services that are away for a while: asked again until they answer, or until the agent has to end.
import { ComputeError, type ErrorCode } from '../driver/errors.js';
import { GenerationConflict } from '../resources/placement/placement-api.js';
import { Backoff } from './backoff.js';
import { RemoteError } from './errors.js';
import { isOfRpc } from './rpc-client.js';

/** Of a conductor while its database is away. */
const AWAY: ReadonlySet<string> = new Set(['DBConnectionError', 'CantStartEngineError']);
const OF_SERVICES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'PLACEMENT_FAILED',
  'NEUTRON_FAILED',
  'CINDER_FAILED',
]);
/** It lives, and waited in vain for somebody else. */
const WAITED = 'MessagingTimeout';
const WAITED_PATIENCE_MS = 600_000;

/**
 * For calls of the conductor, of Placement, Neutron and Cinder, and casts. As long as it takes, while one of these or the broker is away: a
 * call that nobody answers, or whose answer the broker lost; a conductor without its database; one of the others that cannot be reached.
 * What Placement refuses because somebody else changed it at the same time is asked again, too.
 * For ten minutes, where a conductor answers each time that it waited for another service in vain: that may never pass. Any
 * other `TIMEOUT` is the answer. `isAgain`: whether it was done before is not known. Rejects with what does not
 * pass, and with the signal's reason.
 */
export async function persist<T>(signal: AbortSignal, work: (isAgain: boolean) => Promise<T>): Promise<T> {
  const backoff = new Backoff();
  let waitedSince: number | undefined;
  for (let isAgain = false; ; isAgain = true) {
    signal.throwIfAborted();
    try {
      return await work(isAgain);
    } catch (error) {
      const hasWaited = RemoteError.of(error, WAITED);
      waitedSince = hasWaited ? (waitedSince ?? performance.now()) : undefined;
      const isOver = waitedSince !== undefined && performance.now() - waitedSince >= WAITED_PATIENCE_MS;
      if (isOver || !(hasWaited || isAway(error))) throw error;
      await backoff.pause(signal);
    }
  }
}

function isAway(error: unknown): boolean {
  if (error instanceof RemoteError) return AWAY.has(error.remote.class);
  // With a reporter that catches up, for one.
  if (error instanceof GenerationConflict) return true;
  if (!ComputeError.is(error)) return false;
  const { code, retryable } = error;
  if (OF_SERVICES.has(code)) return retryable;
  // The node's own calls end with these codes, too.
  return (code === 'TIMEOUT' || code === 'CONNECTION_LOST') && isOfRpc(error);
}
