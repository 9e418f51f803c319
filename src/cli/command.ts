// What each file of commands/ makes: a command that is given the output and the signal of Ctrl-C.
import type { Command } from 'commander';
import { ComputeError } from '../driver/errors.js';
import { FAILED, Output, USAGE } from './output.js';

export interface Run {
  readonly output: Output;
  /** Fires at the first SIGINT or SIGTERM; a second one ends the process at once. */
  readonly signal: AbortSignal;
}

/** Turns a command's work into an action: prints a failure as --json asks and sets the exit status. */
export function action<Arguments extends unknown[]>(
  work: (run: Run, ...args: Arguments) => Promise<void>,
): (...args: [...Arguments, Command]) => Promise<void> {
  return async (...all) => {
    const args = all.slice(0, -1) as Arguments;
    const command = all.at(-1) as Command;
    const output = new Output(command.opts<{ json: boolean; debug: boolean }>());
    const interrupt = new AbortController();
    const onSignal = (signal: NodeJS.Signals): void => {
      if (interrupt.signal.aborted) process.exit(130);
      output.note(`${signal}: undoing; once more to stop at once`);
      interrupt.abort();
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
    try {
      await work({ output, signal: interrupt.signal }, ...args);
    } catch (error) {
      output.failure(error);
      process.exitCode = isUsage(error) ? USAGE : FAILED;
    } finally {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    }
  };
}

/** A flag whose value cannot be used; what a node refuses is a failure, not a usage error. */
export class UsageError extends ComputeError {
  constructor(message: string) {
    super('INVALID_ARGUMENT', message);
  }
}

function isUsage(error: unknown): boolean {
  return error instanceof UsageError;
}
