// node-compute snapshot: an image of an instance's disk, into the Glance of the environment or a file.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { SnapshotResult, SnapshotTarget } from '../../index.js';
import { action, UsageError } from '../command.js';
import { whole } from '../flag-values.js';
import { glanceFromEnvironment } from '../glance-environment.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';
import { Progress } from '../progress.js';

interface SnapshotFlags extends SharedOptions {
  readonly file?: string;
  readonly glance: boolean;
  readonly name?: string;
  readonly imageId?: string;
  readonly format: 'qcow2' | 'raw';
  readonly compression?: 'zstd' | 'zlib' | 'none';
  readonly timeout: number;
}

const ACTIVITIES = {
  copy: 'copying',
  quiesce: 'freezing',
  convert: 'converting',
  upload: 'publishing',
} as const;

export function snapshotCommand(): Command {
  return withNodeOptions(
    new Command('snapshot')
      .description('make an image of its root disk, while it runs or at rest')
      .argument('<instance>', 'UUID or name')
      .option('--file <path>', 'a new file')
      .option('--glance', 'a new image in the Glance of OS_AUTH_URL', false)
      .option('--name <name>', 'of the image in Glance')
      .option('--image-id <uuid>', 'of a record in Glance that was made for it and has no data yet')
      .addOption(new Option('--format <format>').choices(['qcow2', 'raw']).default('qcow2'))
      .addOption(
        new Option('--compression <kind>', 'of a qcow2; default: zstd').choices(['zstd', 'zlib', 'none']),
      )
      .option('--timeout <seconds>', 'the upload included', whole, 3600),
  ).action(
    action(async (run, wanted: string, flags: SnapshotFlags) => {
      const target = targetOf(flags);
      const images = target.type === 'glance' ? glanceFromEnvironment(process.env) : undefined;
      await onNode({ ...flags, ...(images && { images }) }, async (node) => {
        const { uuid, displayName } = await findInstance(node, wanted);
        using progress = new Progress(run.output);
        const result = await node.snapshot(uuid, target, {
          format: flags.format,
          ...(flags.compression && { compression: flags.compression }),
          signal: run.signal,
          timeoutMs: flags.timeout * 1000,
          onProgress: ({ step, ...bytes }) => progress.show({ activity: ACTIVITIES[step], ...bytes }),
        });
        progress[Symbol.dispose]();
        run.output.result({ uuid, ...result }, describe(displayName, result));
      });
    }),
  );
}

function targetOf({ file, glance, name, imageId }: SnapshotFlags): SnapshotTarget {
  if ((file !== undefined) === (glance || imageId !== undefined)) {
    throw new UsageError('snapshot needs --file, or one of --glance and --image-id');
  }
  if (file !== undefined) {
    if (name !== undefined) throw new UsageError('--name is for an image in Glance');
    return { type: 'file', path: resolve(file) };
  }
  return { type: 'glance', ...(imageId !== undefined && { imageId }), ...(name !== undefined && { name }) };
}

function describe(displayName: string, result: SnapshotResult): string {
  const { path, imageId, sizeBytes, format, how, quiesced, pauseMs } = result;
  const frozen = quiesced ? ', its file systems frozen' : '';
  const held = how === 'live' ? `; its writes waited ${Math.ceil(pauseMs)} ms at most${frozen}` : '';
  return `${displayName} is in ${path ?? `image ${imageId}`}: ${format}, ${sizeBytes} bytes${held}`;
}
