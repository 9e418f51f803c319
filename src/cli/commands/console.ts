// node-compute console: what the guest wrote to its serial console.
import { Command, InvalidArgumentError } from 'commander';
import type { ComputeNode } from '../../index.js';
import { action, type Run, UsageError } from '../command.js';
import { attach } from '../console-session.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';

interface ConsoleCommandOptions extends SharedOptions {
  readonly bytes: number;
  readonly follow: boolean;
  readonly attach: boolean;
  readonly force: boolean;
}

/** How often --follow looks: the file has no event that works on every file system. */
const FOLLOW_MS = 200;

export function consoleCommand(): Command {
  return withNodeOptions(
    new Command('console')
      .description('what the guest wrote to its serial console')
      .argument('<instance>', 'UUID or name')
      .option('--bytes <count>', 'from the end', bytes, 102_400)
      .option('--follow', 'go on printing until Ctrl-C', false)
      .option('--attach', 'type to the guest, until Ctrl-] or its end', false)
      .option('--force', 'attach although it is open elsewhere, which ends there', false),
  ).action(
    action(async (run, wanted: string, options: ConsoleCommandOptions) => {
      await onNode(options, async (node) => {
        const { uuid } = await findInstance(node, wanted);
        if (options.attach) return await attachTo(node, uuid, options.force, run);
        const output = await node.console(uuid, { maxBytes: options.bytes });
        const text = new TextDecoder().decode(output);
        run.output.result({ uuid, console: text }, text);
        if (options.follow && !run.output.json) await follow(node, uuid, output, run);
      });
    }),
  );
}

async function attachTo(node: ComputeNode, uuid: string, force: boolean, run: Run): Promise<void> {
  if (run.output.json) throw new UsageError('--attach is for a terminal, without --json');
  const console = await node.guests.openConsole(uuid, { force, signal: run.signal });
  run.output.note('attached; Ctrl-] leaves');
  const outcome = await attach(console, { input: process.stdin, output: process.stdout }, run.signal);
  run.output.note(outcome === 'escaped' ? '\nleft' : '\nthe console has ended');
}

async function follow(node: ComputeNode, uuid: string, seen: Uint8Array, { signal }: Run): Promise<void> {
  let last = seen;
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
    const now = await node.console(uuid, { maxBytes: 1 << 20 });
    process.stdout.write(newBytes(last, now));
    last = now;
  }
}

/** What `now` has behind the end of `last`; both are tails of one growing file. */
export function newBytes(last: Uint8Array, now: Uint8Array): Uint8Array {
  const tail = Buffer.from(last.subarray(Math.max(0, last.length - 4096)));
  const at = tail.length === 0 ? 0 : Buffer.from(now).lastIndexOf(tail);
  return at < 0 ? now : now.subarray(at + tail.length);
}

function bytes(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 1 << 30) {
    throw new InvalidArgumentError('must be a whole number from 0 to 1 GiB');
  }
  return value;
}
