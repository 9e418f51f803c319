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

/** Whatever went wrong, a ComputeError. */
export function asComputeError(error: unknown, operation: string, instanceUuid?: string): ComputeError {
  if (ComputeError.is(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ComputeError('INTERNAL', `${operation} failed: ${message}`, {
    operation,
    instanceUuid,
    cause: error,
  });
}
