// What goes wrong between two agents: a message that is none, and a failure that the other side reported.
import { ComputeError, type ComputeErrorOptions } from '../driver/errors.js';

export type MessageRule =
  | 'too-large'
  | 'too-deep'
  | 'too-many-values'
  | 'encoding'
  | 'json'
  | 'number'
  | 'envelope'
  | 'message'
  | 'object'
  | 'argument';

/**
 * A message that cannot be read: `MESSAGE_UNACCEPTABLE` with the rule in `details`, and the field where one is meant. Nothing
 * of the message is repeated.
 */
export function unacceptable(rule: MessageRule, why: string, field?: string): ComputeError {
  return new ComputeError('MESSAGE_UNACCEPTABLE', `a message is not acceptable: ${why}`, {
    operation: 'read a message',
    details: { rule, ...(field !== undefined && { field }) },
  });
}

/** An exception of the other side, as oslo.messaging sends it. Decide by `class` and `module`. */
export interface RemoteFailure {
  /** E.g. `ComputeHostNotFound`. */
  readonly class: string;
  /** E.g. `nova.exception`. */
  readonly module: string;
  readonly message: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/** The other side answered that it failed. Its traceback is not kept. */
export class RemoteError extends ComputeError {
  override readonly name = 'RemoteError';
  readonly remote: RemoteFailure;

  constructor(remote: RemoteFailure, options: ComputeErrorOptions) {
    super('REMOTE_FAILED', `${options.operation}: ${remote.class}: ${remote.message}`, {
      ...options,
      details: { class: remote.class, module: remote.module, ...options.details },
    });
    this.remote = remote;
  }

  static of(error: unknown, failureClass: string): error is RemoteError {
    return error instanceof RemoteError && error.remote.class === failureClass;
  }
}

/** Thrown by a method that serves calls, it reaches the caller as this exception: Nova knows those of its own modules. */
export class RpcFailure extends Error {
  override readonly name = 'RpcFailure';
  readonly failure: RemoteFailure;

  constructor(
    failure: Pick<RemoteFailure, 'class' | 'message'> & Partial<RemoteFailure>,
    options: { readonly cause?: unknown } = {},
  ) {
    super(failure.message, options);
    this.failure = { module: 'nova.exception', args: [], kwargs: {}, ...failure };
  }
}
