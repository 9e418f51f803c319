// node-compute image info: what an image says of itself, as qemu-img info tells it.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { imageInfo } from '../../../image/image-info.js';
import { action } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';

export function infoCommand(): Command {
  return withOutputOptions(
    new Command('info')
      .description('tell what an image says of itself, without judging it')
      .argument('<file>')
      .addOption(new Option('--format <format>').choices(['raw', 'qcow2']).makeOptionMandatory()),
  ).action(
    action(async (run, file: string, { format }: { readonly format: 'raw' | 'qcow2' }) => {
      const image = await imageInfo(resolve(file), format, { signal: run.signal });
      const { 'format-specific': specific, ...common } = image;
      // Names come from the image: JSON keeps their control characters from the terminal.
      const lines = Object.entries({ ...common, ...specific?.data }).map(
        ([key, value]) => `${key}: ${JSON.stringify(value)}`,
      );
      run.output.result({ image }, lines.join('\n'));
    }),
  );
}
