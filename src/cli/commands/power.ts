// node-compute stop, start, reboot, suspend, resume, crash-dump, unrescue, terminate.
import { Command, InvalidArgumentError } from 'commander';
import type { ComputeNode } from '../../index.js';
import { action, type Run } from '../command.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';

export function onInstance(name: string, description: string): Command {
  return withNodeOptions(new Command(name).description(description).argument('<instance>', 'UUID or name'));
}

export async function operate(
  { output }: Run,
  wanted: string,
  options: SharedOptions,
  done: string,
  work: (node: ComputeNode, uuid: string) => Promise<void>,
): Promise<void> {
  await onNode(options, async (node) => {
    const { uuid, displayName } = await findInstance(node, wanted);
    await work(node, uuid);
    output.result({ uuid }, `${displayName} (${uuid}) ${done}`);
  });
}

export function stopCommand(): Command {
  return onInstance('stop', 'ask the guest to shut down, pull the plug when its time is over')
    .option('--timeout <seconds>', 'given to the guest; 0 pulls the plug at once', seconds, 60)
    .action(
      action(async (run, wanted: string, options: SharedOptions & { readonly timeout: number }) => {
        const limits = { shutdownTimeoutMs: options.timeout * 1000, signal: run.signal };
        await operate(run, wanted, options, 'is stopped', (node, uuid) => node.shutdown(uuid, limits));
      }),
    );
}

export function startCommand(): Command {
  return onInstance('start', 'start a stopped instance').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'runs', (node, uuid) => node.start(uuid, { signal: run.signal }));
    }),
  );
}

export function rebootCommand(): Command {
  return onInstance('reboot', 'ask the guest to shut down and start it again')
    .option('--hard', 'pull the plug instead of asking', false)
    .action(
      action(async (run, wanted: string, options: SharedOptions & { readonly hard: boolean }) => {
        const type = options.hard ? 'hard' : 'soft';
        await operate(run, wanted, options, 'runs again', (node, uuid) =>
          node.reboot(uuid, type, { signal: run.signal }),
        );
      }),
    );
}

export function suspendCommand(): Command {
  return onInstance('suspend', 'write its memory to disk and stop it').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'is suspended', (node, uuid) =>
        node.suspend(uuid, { signal: run.signal }),
      );
    }),
  );
}

export function resumeCommand(): Command {
  return onInstance('resume', 'start a suspended instance from its memory').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'runs', (node, uuid) => node.resume(uuid, { signal: run.signal }));
    }),
  );
}

export function crashCommand(): Command {
  return onInstance('crash-dump', 'send an NMI: a guest that is set up so dumps its memory').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'was sent an NMI', (node, uuid) =>
        node.triggerCrashDump(uuid, { signal: run.signal }),
      );
    }),
  );
}

export function unrescueCommand(): Command {
  return onInstance('unrescue', 'start a rescued instance from its own disk again').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'runs', (node, uuid) =>
        node.unrescue(uuid, { signal: run.signal }),
      );
    }),
  );
}

export function terminateCommand(): Command {
  return onInstance('terminate', 'stop an instance and remove everything of it').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'is gone', (node, uuid) =>
        node.terminate(uuid, { signal: run.signal }),
      );
    }),
  );
}

export function seconds(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('must be a whole number of seconds');
  return Number(text);
}
