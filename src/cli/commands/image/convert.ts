// node-compute image convert: a disk to a file of its own, raw or qcow2.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { ComputeError } from '../../../driver/errors.js';
import { convertImage } from '../../../image/convert-image.js';
import { type ImageLayer, type OpenDiskOptions, openDisk } from '../../../image/disk.js';
import { inspectImage } from '../../../image/inspect-image.js';
import { FOREIGN_FORMATS, type ForeignFormat } from '../../../image/qemu-img.js';
import { action, UsageError } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';
import { Progress } from '../../progress.js';
import { backing, maxSize } from './options.js';
import { size } from './size.js';

export function convertCommand(): Command {
  interface Flags {
    readonly from: ImageLayer['format'] | ForeignFormat | 'luks';
    readonly to: 'raw' | 'qcow2';
    readonly compression: 'none' | 'zlib' | 'zstd';
    readonly clusterSize: number;
    readonly backing: readonly ImageLayer[];
    readonly secretFile?: string;
    readonly maxSize: number;
  }
  return withOutputOptions(
    new Command('convert')
      .description(
        'write the disk in an image, or in an overlay and the images below it, to a file of its own',
      )
      .argument('<source>')
      .argument('<target>', 'must not exist')
      .addOption(
        new Option('--from <format>')
          .choices(['raw', 'qcow2', ...FOREIGN_FORMATS, 'luks'])
          .makeOptionMandatory(),
      )
      .addOption(new Option('--to <format>').choices(['raw', 'qcow2']).default('raw'))
      .addOption(
        new Option('--compression <kind>', 'of a qcow2').choices(['none', 'zlib', 'zstd']).default('none'),
      )
      .addOption(new Option('--cluster-size <bytes>', 'of a qcow2').argParser(size).default(65_536, '64K'))
      .addOption(backing())
      .option(
        '--secret-file <file>',
        'holds the secret of an image that is encrypted by LUKS, and nothing else',
      )
      .addOption(maxSize()),
  ).action(
    action(async (run, source: string, target: string, flags: Flags) => {
      const path = resolve(source);
      const options = { maxVirtualBytes: flags.maxSize, signal: run.signal };
      if (!isLayer(flags.from) && flags.backing.length > 0) {
        throw new ComputeError('INVALID_ARGUMENT', `a ${flags.from} stands on no other image`);
      }
      const layers = isLayer(flags.from)
        ? [{ path, format: flags.from }, ...flags.backing]
        : ([{ path, format: flags.from }] as const);
      const secret = flags.secretFile === undefined ? undefined : await readSecret(flags.secretFile);
      // An overlay is no image from elsewhere: its guest may have written any signature to it.
      const totalBytes =
        flags.backing.length === 0
          ? (await inspectImage(path, { ...options, format: flags.from, encrypted: secret !== undefined }))
              .virtualSizeBytes
          : await sizeOf(layers as readonly ImageLayer[], options);
      const made = resolve(target);
      using progress = new Progress(run.output);
      const result = await convertImage(layers, made, {
        ...options,
        format: flags.to,
        compression: flags.compression,
        clusterSizeBytes: flags.clusterSize,
        secret,
        onProgress: (doneBytes) => progress.show({ activity: 'converting', doneBytes, totalBytes }),
      });
      run.output.result({ path: made, ...result }, '');
    }),
  );
}

function isLayer(format: string): format is ImageLayer['format'] {
  return format === 'raw' || format === 'qcow2';
}

/** As it is: a newline at its end belongs to the secret, as it does for QEMU. */
async function readSecret(file: string): Promise<Buffer> {
  try {
    return await readFile(resolve(file));
  } catch (error) {
    throw new UsageError(`--secret-file ${file}: ${(error as Error).message}`);
  }
}

async function sizeOf(layers: readonly ImageLayer[], options: OpenDiskOptions): Promise<number> {
  using disk = await openDisk(layers, options);
  return disk.sizeBytes;
}
