// node-compute resize, confirm-resize, revert-resize.
import type { Command } from 'commander';
import type { ComputeNode, Flavor, InstanceView } from '../../index.js';
import { action, UsageError } from '../command.js';
import { pair, whole } from '../flag-values.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions } from '../node-options.js';
import { onInstance, operate, seconds } from './power.js';

interface SizeFlags {
  readonly vcpus?: number;
  readonly memory?: number;
  readonly disk?: number;
  readonly ephemeral?: number;
  readonly swap?: number;
  readonly extraSpec: Readonly<Record<string, string>>;
  readonly confirm: boolean;
  readonly live: boolean;
  readonly timeout: number;
}

export function resizeCommand(): Command {
  return onInstance('resize', 'give an instance another flavor; what is left out stays as it is')
    .option('--vcpus <count>', '', whole)
    .option('--memory <MiB>', '', whole)
    .option('--disk <GiB>', 'size of the root disk, which can only grow', whole)
    .option('--ephemeral <GiB>', 'size of the second disk, which can only grow', whole)
    .option('--swap <MiB>', 'size of the swap disk, which is made anew', whole)
    .option('--extra-spec <key=value>', 'beside those that it has; repeatable', pair, {})
    .option('--confirm', 'do not wait for confirm-resize', false)
    .option('--live', 'change --vcpus and --memory while it runs', false)
    .option('--timeout <seconds>', 'given to the guest to shut down; 0 pulls the plug at once', seconds, 60)
    .action(
      action(async ({ output, signal }, wanted: string, flags: SharedOptions & SizeFlags) => {
        if (flags.live) refuseAtRest(flags);
        await onNode(flags, async (node) => {
          const { uuid, displayName } = await findInstance(node, wanted);
          await (flags.live ? live(node, uuid, flags, signal) : atRest(node, uuid, flags, signal));
          const instance = await node.get(uuid, { signal });
          output.result({ instance }, `${displayName} (${uuid}) ${outcome(instance)}`);
        });
      }),
    );
}

export function confirmResizeCommand(): Command {
  return onInstance('confirm-resize', 'let the old disks of a resized instance go').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'keeps its new flavor', (node, uuid) =>
        node.confirmResize(uuid, { signal: run.signal }),
      );
    }),
  );
}

export function revertResizeCommand(): Command {
  return onInstance('revert-resize', 'give a resized instance its old flavor and disks back').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await operate(run, wanted, options, 'has its old flavor', (node, uuid) =>
        node.revertResize(uuid, { signal: run.signal }),
      );
    }),
  );
}

async function atRest(node: ComputeNode, uuid: string, flags: SizeFlags, signal: AbortSignal): Promise<void> {
  const { flavor } = await node.get(uuid, { signal });
  const limits = { autoConfirm: flags.confirm, shutdownTimeoutMs: flags.timeout * 1000, signal };
  await node.resize(uuid, changed(flavor, flags), limits);
}

async function live(
  node: ComputeNode,
  uuid: string,
  { vcpus, memory }: SizeFlags,
  signal: AbortSignal,
): Promise<void> {
  const size = { ...(vcpus !== undefined && { vcpus }), ...(memory !== undefined && { memoryMb: memory }) };
  await node.liveResize(uuid, size, { signal });
}

function changed(flavor: Flavor, flags: SizeFlags): Flavor {
  const { vcpus, memory, disk, ephemeral, swap, extraSpec } = flags;
  return {
    ...flavor,
    vcpus: vcpus ?? flavor.vcpus,
    memoryMb: memory ?? flavor.memoryMb,
    rootGb: disk ?? flavor.rootGb,
    ephemeralGb: ephemeral ?? flavor.ephemeralGb,
    swapMb: swap ?? flavor.swapMb,
    extraSpecs: { ...flavor.extraSpecs, ...extraSpec },
  };
}

function refuseAtRest({ disk, ephemeral, swap, extraSpec, confirm }: SizeFlags): void {
  const sizes = [disk, ephemeral, swap].filter((size) => size !== undefined);
  if (confirm || sizes.length > 0 || Object.keys(extraSpec).length > 0) {
    throw new UsageError('--live changes --vcpus and --memory alone, and there is nothing to confirm');
  }
}

function outcome({ flavor, resize }: InstanceView): string {
  const { vcpus, memoryMb, rootGb } = flavor;
  const now = `has ${vcpus} vCPUs, ${memoryMb} MiB of memory and a root disk of ${rootGb} GiB`;
  return resize ? `${now}; confirm-resize or revert-resize ends it` : now;
}
