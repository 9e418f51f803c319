// node-compute image resize: a larger disk in the same file.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { ImageLayer } from '../../../image/disk.js';
import { callNative } from '../../../native.js';
import { action } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';
import { backing } from './options.js';
import { size } from './size.js';

interface Flags {
  readonly format: ImageLayer['format'];
  /** Only its length is read. */
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
      const rules = { operation: 'image resize', signal: run.signal, waitOnAbort: true };
      const before = more
        ? (await callNative((addon, id) => addon.imageInfo(path, flags.format, id), rules))['virtual-size']
        : 0;
      const grown = await callNative(
        (addon, id) =>
          addon.growImage([{ path, format: flags.format }, ...flags.backing], before + bytes, id),
        rules,
      );
      run.output.result({ path, ...grown }, '');
    }),
  );
}

function wanted(text: string): Wanted {
  const more = text.startsWith('+');
  return { bytes: size(more ? text.slice(1) : text), more };
}
