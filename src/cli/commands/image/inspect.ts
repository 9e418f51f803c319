// node-compute image inspect: what an image is, or by which rule it is refused.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { inspectImage } from '../../../image/inspect-image.js';
import { action } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';
import { maxSize } from './options.js';

const format = new Option('--format <format>', 'what the file is declared to be')
  .choices(['raw', 'iso', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'qed', 'qcow', 'ploop', 'luks'])
  .makeOptionMandatory();

export function inspectCommand(): Command {
  return withOutputOptions(
    new Command('inspect')
      .description('tell what an image is, or by which rule it is refused (docs/images.md)')
      .argument('<file>')
      .addOption(format)
      .addOption(maxSize()),
  ).action(
    action(async (run, file: string, flags: { readonly format: string; readonly maxSize: number }) => {
      const verdict = await inspectImage(resolve(file), {
        format: flags.format,
        maxVirtualBytes: flags.maxSize,
        signal: run.signal,
      });
      const lines = Object.entries(verdict).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
      run.output.result({ image: verdict }, lines.join('\n'));
    }),
  );
}
