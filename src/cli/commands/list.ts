// node-compute list: the instances of this node.
import { Command } from 'commander';
import { action } from '../command.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';
import { table } from '../output.js';

export function listCommand(): Command {
  return withNodeOptions(new Command('list').description('the instances of this node')).action(
    action(async ({ output }, options: SharedOptions) => {
      const instances = await onNode(options, (node) => node.list());
      const rows = instances.map(({ uuid, name, displayName, powerState, flavor, resize }) => [
        uuid,
        name,
        displayName,
        resize ? `${powerState}, resize: ${resize.phase}` : powerState,
        `${flavor.vcpus} vCPU, ${flavor.memoryMb} MiB, ${flavor.rootGb} GiB`,
      ]);
      output.result({ instances }, table(['uuid', 'domain', 'name', 'state', 'flavor'], rows));
    }),
  );
}
