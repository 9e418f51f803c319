// Errors as a node gives them out and writes them down.
import { ComputeError } from '../driver/errors.js';

export function notFound(uuid: string, operation: string): ComputeError {
  return new ComputeError('INSTANCE_NOT_FOUND', `${operation}: this node has no instance ${uuid}`, {
    operation,
    instanceUuid: uuid,
  });
}

/** What is logged and kept of an error that is not passed on. */
export function reasonOf(error: unknown): string {
  return ComputeError.is(error) ? `${error.code}: ${error.message}` : String(error);
}

/** Whatever went wrong, a ComputeError, which says of which instance: an image or a bridge knows of none. */
export function asComputeError(error: unknown, operation: string, instanceUuid?: string): ComputeError {
  if (ComputeError.is(error)) {
    if (instanceUuid === undefined || error.instanceUuid !== undefined) return error;
    const { code, retryable, details } = error;
    const context = { operation: error.operation ?? operation, instanceUuid, retryable, details };
    return new ComputeError(code, error.message, { ...context, cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new ComputeError('INTERNAL', `${operation} failed: ${message}`, {
    operation,
    instanceUuid,
    cause: error,
  });
}
