// Services that are away for a while: asked again until they answer, or until the agent has to end.
import { ComputeError } from '../driver/errors.js';
import { Backoff } from './backoff.js';
import { RemoteError } from './errors.js';

/** Of the conductor while its database is away. */
const AWAY: ReadonlySet<string> = new Set(['DBConnectionError', 'CantStartEngineError', 'MessagingTimeout']);

/** `isAgain`: whether it was done before is not known. Rejects with what does not pass, and with the signal's reason. */
export async function persist<T>(signal: AbortSignal, work: (isAgain: boolean) => Promise<T>): Promise<T> {
  const backoff = new Backoff();
  for (let isAgain = false; ; isAgain = true) {
    signal.throwIfAborted();
    try {
      return await work(isAgain);
    } catch (error) {
      if (!isPassing(error)) throw error;
      await backoff.pause(signal);
    }
  }
}

function isPassing(error: unknown): boolean {
  if (error instanceof RemoteError) return AWAY.has(error.remote.class);
  if (!ComputeError.is(error)) return false;
  return error.code === 'TIMEOUT' || error.code === 'CONNECTION_LOST' || isServiceAway(error);
}

function isServiceAway({ code, retryable }: ComputeError): boolean {
  return (code === 'PLACEMENT_FAILED' || code === 'NEUTRON_FAILED') && retryable;
}
