// node-compute image create: an empty qcow2 image, or an overlay.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { createImage } from '../../../image/create-image.js';
import { action, UsageError } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';
import { size } from './size.js';

export function createCommand(): Command {
  interface Flags {
    readonly backing?: string;
    readonly backingFormat?: 'raw' | 'qcow2';
    readonly size: number;
    readonly clusterSize: number;
    readonly compression: 'zlib' | 'zstd';
  }
  return withOutputOptions(
    new Command('create')
      .description('make an empty qcow2 image, or an overlay')
      .argument('<target>', 'must not exist')
      .addOption(new Option('--size <bytes>', 'of the disk').argParser(size).makeOptionMandatory())
      .option('--backing <file>', 'the image below it')
      .addOption(new Option('--backing-format <format>').choices(['raw', 'qcow2']))
      .addOption(new Option('--cluster-size <bytes>').argParser(size).default(65_536, '64K'))
      .addOption(new Option('--compression <type>').choices(['zlib', 'zstd']).default('zlib')),
  ).action(
    action(async (run, target: string, flags: Flags) => {
      const backing = backingOf(flags);
      const path = resolve(target);
      const options = {
        ...(backing && { backing }),
        virtualSizeBytes: flags.size,
        clusterSizeBytes: flags.clusterSize,
        compression: flags.compression,
      };
      await createImage(path, { ...options, signal: run.signal });
      run.output.result({ path, ...options }, '');
    }),
  );
}

function backingOf(flags: {
  readonly backing?: string;
  readonly backingFormat?: 'raw' | 'qcow2';
}): { readonly path: string; readonly format: 'raw' | 'qcow2' } | undefined {
  const { backing, backingFormat: format } = flags;
  if (backing === undefined && format === undefined) return undefined;
  if (backing === undefined || format === undefined) {
    throw new UsageError('--backing and --backing-format need each other');
  }
  return { path: resolve(backing), format };
}
