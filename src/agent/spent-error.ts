// Of a command that was under way in too many processes that died.
import { ComputeError } from '../driver/errors.js';

/** `INTERNAL`: what the user reads as the server's fault. */
export function spentError(method: string, instanceUuid?: string): ComputeError {
  const what = instanceUuid === undefined ? method : `${method} of instance ${instanceUuid}`;
  const message = `${what} is not tried again: the agent ended each time it was under way`;
  return new ComputeError('INTERNAL', message, { operation: method, instanceUuid });
}
