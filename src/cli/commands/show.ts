// node-compute show: one instance.
import { Command } from 'commander';
import { action } from '../command.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';
import { table } from '../output.js';

export function showCommand(): Command {
  return withNodeOptions(
    new Command('show').description('one instance').argument('<instance>', 'UUID or name'),
  ).action(
    action(async ({ output }, wanted: string, options: SharedOptions) => {
      const instance = await onNode(options, (node) => findInstance(node, wanted));
      const { flavor, resize, macs, volumes, ...rest } = instance;
      const rows = Object.entries({
        ...rest,
        vcpus: flavor.vcpus,
        memoryMb: flavor.memoryMb,
        rootGb: flavor.rootGb,
        resize: resize?.phase,
        macs: macs.join(' '),
        volumes: volumes.map(({ device }) => device).join(' '),
      }).map(([key, value]) => [key, String(value ?? '')]);
      output.result({ instance }, table(['', ''], rows));
    }),
  );
}
