// node-compute image resize: a larger disk in the same file.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { ImageLayer } from '../../../image/disk.js';
import { growImage } from '../../../image/grow-image.js';
import { imageInfo } from '../../../image/image-info.js';
import { action } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';
import { backing } from './options.js';
import { size } from './size.js';

interface Flags {
  readonly format: ImageLayer['format'];
  readonly backing: readonly ImageLayer[];
}

interface Wanted {
  readonly bytes: number;
  /** On top of what the disk has. */
  readonly more: boolean;
}

export function resizeCommand(): Command {
  return withOutputOptions(
    new Command('resize')
      .description('make the disk in an image larger, in place; never while something has it open')
      .argument('<file>')
      .argument('<size>', 'of the disk, or +SIZE for as much more', wanted)
      .addOption(new Option('--format <format>').choices(['raw', 'qcow2']).makeOptionMandatory())
      .addOption(backing()),
  ).action(
    action(async (run, file: string, { bytes, more }: Wanted, flags: Flags) => {
      const path = resolve(file);
      const { signal } = run;
      const before = more ? (await imageInfo(path, flags.format, { signal }))['virtual-size'] : 0;
      const layers = [{ path, format: flags.format }, ...flags.backing];
      const grown = await growImage(layers, before + bytes, { signal });
      run.output.result({ path, ...grown }, '');
    }),
  );
}

function wanted(text: string): Wanted {
  const more = text.startsWith('+');
  return { bytes: size(more ? text.slice(1) : text), more };
}
