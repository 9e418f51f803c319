// node-compute image: what the image engine does to files, without a node and without libvirt running.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { inspectImage } from '../../image/inspect-image.js';
import { callNative } from '../../native.js';
import { action, UsageError } from '../command.js';
import { withOutputOptions } from '../node-options.js';
import { convertCommand } from './image/convert.js';
import { infoCommand } from './image/info.js';
import { mapCommand } from './image/map.js';
import { maxSize } from './image/options.js';
import { resizeCommand } from './image/resize.js';
import { size } from './image/size.js';

const format = new Option('--format <format>', 'what the file is declared to be')
  .choices(['raw', 'iso', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'qed', 'qcow', 'ploop', 'luks'])
  .makeOptionMandatory();
export function imageCommand(): Command {
  const command = new Command('image').description('inspects, makes, grows and converts disk images');
  for (const sub of [
    inspectCommand(),
    infoCommand(),
    createCommand(),
    resizeCommand(),
    convertCommand(),
    mapCommand(),
    digestCommand(),
  ]) {
    command.addCommand(sub);
  }
  return command;
}

function inspectCommand(): Command {
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

function createCommand(): Command {
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
      await callNative((addon, id) => addon.createQcow2(path, options, id), {
        operation: 'image create',
        signal: run.signal,
      });
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

function digestCommand(): Command {
  return withOutputOptions(
    new Command('digest')
      .description('hash a file')
      .argument('<file>')
      .addOption(new Option('--algorithm <name>').choices(['md5', 'sha256', 'sha512']).default('sha256')),
  ).action(
    action(async (run, file: string, { algorithm }: { readonly algorithm: 'md5' | 'sha256' | 'sha512' }) => {
      const value = await callNative((addon, id) => addon.digestFile(resolve(file), algorithm, id), {
        operation: 'image digest',
        signal: run.signal,
      });
      run.output.result({ algorithm, value }, value);
    }),
  );
}
