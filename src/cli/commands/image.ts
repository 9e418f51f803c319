// node-compute image: what the image engine does to files, without a node and without libvirt running.
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { convertImage } from '../../image/convert-image.js';
import { type DiskExtent, type ImageLayer, type OpenDiskOptions, openDisk } from '../../image/disk.js';
import { MOST_BYTES } from '../../image/image-options.js';
import { inspectImage } from '../../image/inspect-image.js';
import { callNative } from '../../native.js';
import { action, UsageError } from '../command.js';
import { withOutputOptions } from '../node-options.js';
import { table } from '../output.js';
import { Progress } from '../progress.js';

const format = new Option('--format <format>', 'what the file is declared to be')
  .choices(['raw', 'iso', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'qed', 'qcow', 'ploop', 'luks'])
  .makeOptionMandatory();
const maxSize = new Option('--max-size <bytes>', 'of the disk in it; K, M, G, T are powers of 1024')
  .argParser(size)
  .default(MOST_BYTES, '16T');

const backing = new Option('--backing <format:file>', 'the image below; again for the one below that')
  .argParser((text, before: readonly ImageLayer[]) => [...before, layer(text)])
  .default([], 'none');

export function imageCommand(): Command {
  const command = new Command('image').description('inspects, makes and converts disk images');
  for (const sub of [inspectCommand(), createCommand(), convertCommand(), mapCommand(), digestCommand()]) {
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
      .addOption(maxSize),
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

function convertCommand(): Command {
  interface Flags {
    readonly from: 'raw' | 'qcow2';
    readonly to: 'raw' | 'qcow2';
    readonly compression: 'none' | 'zlib' | 'zstd';
    readonly clusterSize: number;
    readonly backing: readonly ImageLayer[];
    readonly maxSize: number;
  }
  return withOutputOptions(
    new Command('convert')
      .description(
        'write the disk in an image, or in an overlay and the images below it, to a file of its own',
      )
      .argument('<source>')
      .argument('<target>', 'must not exist')
      .addOption(new Option('--from <format>').choices(['raw', 'qcow2']).makeOptionMandatory())
      .addOption(new Option('--to <format>').choices(['raw', 'qcow2']).default('raw'))
      .addOption(
        new Option('--compression <kind>', 'of a qcow2').choices(['none', 'zlib', 'zstd']).default('none'),
      )
      .addOption(new Option('--cluster-size <bytes>', 'of a qcow2').argParser(size).default(65_536, '64K'))
      .addOption(backing)
      .addOption(maxSize),
  ).action(
    action(async (run, source: string, target: string, flags: Flags) => {
      const top = { path: resolve(source), format: flags.from };
      const options = { maxVirtualBytes: flags.maxSize, signal: run.signal };
      // An overlay is no image from elsewhere: its guest may have written any signature to it.
      if (flags.backing.length === 0) await inspectImage(top.path, { ...options, format: top.format });
      const path = resolve(target);
      const layers = [top, ...flags.backing];
      const totalBytes = await sizeOf(layers, options);
      using progress = new Progress(run.output);
      const result = await convertImage(layers, path, {
        ...options,
        format: flags.to,
        compression: flags.compression,
        clusterSizeBytes: flags.clusterSize,
        onProgress: (doneBytes) =>
          progress.show({ step: 'image', activity: 'converting', doneBytes, totalBytes }),
      });
      run.output.result({ path, ...result }, '');
    }),
  );
}

async function sizeOf(layers: readonly ImageLayer[], options: OpenDiskOptions): Promise<number> {
  using disk = await openDisk(layers, options);
  return disk.sizeBytes;
}

function mapCommand(): Command {
  interface Flags {
    readonly format: 'raw' | 'qcow2';
    readonly backing: readonly ImageLayer[];
    readonly maxSize: number;
  }
  return withOutputOptions(
    new Command('map')
      .description('tell which parts of the disk are data, compressed, zeros or holes, and in which image')
      .argument('<file>')
      .addOption(new Option('--format <format>').choices(['raw', 'qcow2']).makeOptionMandatory())
      .addOption(backing)
      .addOption(maxSize),
  ).action(
    action(async (run, file: string, flags: Flags) => {
      const options = { maxVirtualBytes: flags.maxSize, signal: run.signal };
      using disk = await openDisk([{ path: resolve(file), format: flags.format }, ...flags.backing], options);
      const extents: DiskExtent[] = [];
      for await (const extent of disk.extents({ signal: run.signal })) extents.push(extent);
      run.output.result({ sizeBytes: disk.sizeBytes, extents }, extentTable(extents));
    }),
  );
}

function extentTable(extents: readonly DiskExtent[]): string {
  return table(
    ['OFFSET', 'BYTES', 'KIND', 'LAYER', 'IN FILE AT'],
    extents.map(({ offset, bytes, kind, layer, fileOffset }) => [
      String(offset),
      String(bytes),
      kind,
      String(layer),
      fileOffset === undefined ? '' : String(fileOffset),
    ]),
  );
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

/** `raw:base.img`, `qcow2:/images/overlay`. */
function layer(text: string): ImageLayer {
  const [, format, path] = /^(raw|qcow2):(.+)$/s.exec(text) ?? [];
  if (format === undefined || path === undefined) {
    throw new InvalidArgumentError('must be raw:<file> or qcow2:<file>');
  }
  return { path: resolve(path), format: format as ImageLayer['format'] };
}

/** `20G`, `512M`, `65536`. */
function size(text: string): number {
  const found = /^(\d{1,15})([KMGT]?)$/i.exec(text);
  const bytes = found
    ? Number(found[1]) * 1024 ** ' KMGT'.indexOf((found[2] || ' ').toUpperCase())
    : Number.NaN;
  if (!Number.isSafeInteger(bytes))
    throw new InvalidArgumentError('must be a number of bytes, such as 65536 or 20G');
  return bytes;
}
