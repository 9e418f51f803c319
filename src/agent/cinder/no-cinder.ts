// Of an agent that has been told of no Cinder.
import { ComputeError } from '../../driver/errors.js';

export function noCinder(hostName: string, method: string, instanceUuid: string): ComputeError {
  const message = `host ${hostName} does not support ${method}: it has no Cinder`;
  return new ComputeError('UNSUPPORTED', message, { operation: method, instanceUuid });
}
