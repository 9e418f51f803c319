// node-compute image: what the image engine does to files, without a node and without libvirt running.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { callNative } from '../../native.js';
import { action, type Run, UsageError } from '../command.js';
import { withOutputOptions } from '../node-options.js';
import { Progress } from '../progress.js';
import { infoCommand } from './image/info.js';
import { resizeCommand } from './image/resize.js';
import { size } from './image/size.js';

/** 16 TiB, as the image cache. */
const MOST_BYTES = 16 * 1024 ** 4;

const format = new Option('--format <format>', 'what the file is declared to be')
  .choices(['raw', 'qcow2', 'iso'])
  .makeOptionMandatory();
const maxSize = new Option('--max-size <bytes>', 'of the disk in it; K, M, G, T are powers of 1024')
  .argParser(size)
  .default(MOST_BYTES, '16T');

export function imageCommand(): Command {
  const command = new Command('image').description('inspects, makes, grows and converts disk images');
  for (const sub of [
    inspectCommand(),
    infoCommand(),
    createCommand(),
    resizeCommand(),
    convertCommand(),
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
      .addOption(maxSize),
  ).action(
    action(async (run, file: string, flags: { readonly format: string; readonly maxSize: number }) => {
      const verdict = await callNative(
        (addon, id) => addon.inspectImage(resolve(file), flags.format, flags.maxSize, id),
        { operation: 'image inspect', signal: run.signal },
      );
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
    readonly maxSize: number;
  }
  return withOutputOptions(
    new Command('convert')
      .description('write the disk in an image as a sparse raw file')
      .argument('<source>')
      .argument('<target>', 'must not exist')
      .addOption(new Option('--from <format>').choices(['raw', 'qcow2']).makeOptionMandatory())
      .addOption(new Option('--to <format>').choices(['raw']).default('raw'))
      .addOption(maxSize),
  ).action(
    action(async (run, source: string, target: string, flags: Flags) => {
      const files = { source: resolve(source), target: resolve(target) };
      const result = flags.from === 'raw' ? await copy(files, flags, run) : await convert(files, flags, run);
      run.output.result({ path: files.target, ...result }, '');
    }),
  );
}

interface Files {
  readonly source: string;
  readonly target: string;
}

async function convert(
  { source, target }: Files,
  { maxSize: maxVirtualBytes }: { readonly maxSize: number },
  run: Run,
): Promise<{ readonly bytes: number; readonly writtenBytes: number }> {
  const operation = 'image convert';
  const { virtualSizeBytes } = await callNative(
    (addon, id) => addon.inspectImage(source, 'qcow2', maxVirtualBytes, id),
    { operation, signal: run.signal },
  );
  using progress = new Progress(run.output);
  return await callNative(
    (addon, id) => addon.convertToRaw(source, target, { maxVirtualBytes, threads: 0, sync: true }, id),
    {
      operation,
      signal: run.signal,
      waitOnAbort: true,
      onProgress: (done) =>
        progress.show({
          step: 'image',
          activity: 'converting',
          doneBytes: Math.min(done, virtualSizeBytes),
          totalBytes: virtualSizeBytes,
        }),
    },
  );
}

async function copy(
  { source, target }: Files,
  { maxSize: maxBytes }: { readonly maxSize: number },
  run: Run,
): Promise<{ readonly bytes: number }> {
  const rules = { operation: 'image convert', signal: run.signal, waitOnAbort: true };
  // A raw image that looks like another format is refused here as everywhere.
  await callNative((addon, id) => addon.inspectImage(source, 'raw', maxBytes, id), rules);
  const { bytes } = await callNative(
    (addon, id) => addon.copyFile(source, target, { digest: '', maxBytes, sync: true }, id),
    rules,
  );
  return { bytes };
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
