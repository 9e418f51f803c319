// node-compute volume attach, detach, extend, swap.
import { readFile } from 'node:fs/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { VolumeConnection } from '../../index.js';
import { action, UsageError } from '../command.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';
import { size } from './image/size.js';

interface ConnectionOptions {
  readonly connection?: string;
  readonly file?: string;
  readonly block?: string;
  readonly nbd?: { readonly socket: string } | { readonly host: string; readonly port?: number };
  readonly export?: string;
  readonly format: 'raw' | 'qcow2';
  readonly serial?: string;
  readonly cache?: string;
  readonly discard: boolean;
  readonly readOnly: boolean;
  readonly multiattach: boolean;
}

export function volumeCommand(): Command {
  return new Command('volume')
    .description('attach, detach and extend volumes')
    .addCommand(attachCommand())
    .addCommand(detachCommand())
    .addCommand(extendCommand())
    .addCommand(swapCommand());
}

function attachCommand(): Command {
  const command = withConnection(withInstance('attach', 'give an instance one more disk'))
    .option('--device <name>', 'vdb ...; the first free one by default')
    .action(
      action(
        async (
          { output, signal },
          wanted: string,
          options: SharedOptions & ConnectionOptions & { readonly device?: string },
        ) => {
          const connection = await connectionOf(options);
          const { device } = options;
          await onNode(options, async (node) => {
            const { uuid, displayName } = await findInstance(node, wanted);
            const call = { signal, ...(device !== undefined && { device }) };
            const volume = await node.attachVolume(uuid, connection, call);
            output.result({ uuid, volume }, `${displayName} (${uuid}) has it as ${volume.device}`);
          });
        },
      ),
    );
  return command;
}

function detachCommand(): Command {
  return withInstance('detach', 'take a volume away')
    .argument('<device>', 'vdb ..., as show tells')
    .action(
      action(async ({ output, signal }, wanted: string, device: string, options: SharedOptions) => {
        await onNode(options, async (node) => {
          const { uuid, displayName } = await findInstance(node, wanted);
          await node.detachVolume(uuid, device, { signal });
          output.result({ uuid, device }, `${displayName} (${uuid}) has ${device} no more`);
        });
      }),
    );
}

function extendCommand(): Command {
  return withInstance('extend', 'make a volume larger')
    .argument('<device>', 'vdb ..., as show tells')
    .argument('<size>', 'bytes, or with K, M, G, T', size)
    .action(
      action(
        async ({ output, signal }, wanted: string, device: string, bytes: number, options: SharedOptions) => {
          await onNode(options, async (node) => {
            const { uuid } = await findInstance(node, wanted);
            await node.extendVolume(uuid, device, bytes, { signal });
            output.result({ uuid, device, sizeBytes: bytes }, `${device} has ${bytes} bytes`);
          });
        },
      ),
    );
}

function swapCommand(): Command {
  return withConnection(
    withInstance('swap', 'copy a volume to another and go on with that').argument('<device>', 'vdb ...'),
  ).action(
    action(
      async (
        { output, signal },
        wanted: string,
        device: string,
        options: SharedOptions & ConnectionOptions,
      ) => {
        const connection = await connectionOf(options);
        await onNode(options, async (node) => {
          const { uuid } = await findInstance(node, wanted);
          const volume = await node.swapVolume(uuid, device, connection, { signal });
          output.result({ uuid, volume }, `${device} is the new volume`);
        });
      },
    ),
  );
}

function withInstance(name: string, description: string): Command {
  return withNodeOptions(new Command(name).description(description).argument('<instance>', 'UUID or name'));
}

function withConnection(command: Command): Command {
  return command
    .option('--file <path>', 'a file of --format')
    .option('--block <device>', 'a block device of the host')
    .option('--nbd <server>', 'the absolute path of a socket, or HOST[:PORT]', nbdServer)
    .option('--connection <file>', 'a connection as JSON, - reads standard input; for rbd and limits')
    .option('--export <name>', 'of an NBD server; its default one by default')
    .addOption(new Option('--format <format>', 'of a file').choices(['raw', 'qcow2']).default('raw'))
    .option('--serial <text>', 'serial number that the guest sees')
    .addOption(
      new Option('--cache <mode>', 'cache mode').choices([
        'none',
        'writeback',
        'writethrough',
        'directsync',
        'unsafe',
      ]),
    )
    .option('--discard', 'give back to the storage what the guest trims', false)
    .option('--read-only', 'the guest may only read', false)
    .option('--multiattach', 'other instances may have it too', false);
}

/** The node checks it: what is written here goes there as it is. */
async function connectionOf(options: ConnectionOptions): Promise<VolumeConnection> {
  const { connection, file, block, nbd, format, serial, cache, discard, readOnly, multiattach } = options;
  const given = [connection, file, block, nbd].filter((one) => one !== undefined);
  if (given.length !== 1) throw new UsageError('give one of --file, --block, --nbd and --connection');
  if (connection !== undefined) return await readConnection(connection);
  const settings = {
    ...(serial !== undefined && { serial }),
    ...(cache !== undefined && { cacheMode: cache }),
    ...(discard && { discard }),
    ...(readOnly && { readOnly }),
    ...(multiattach && { multiattach }),
  };
  const place =
    file !== undefined
      ? { driverVolumeType: 'file', data: { path: file, format } }
      : block !== undefined
        ? { driverVolumeType: 'block', data: { path: block } }
        : {
            driverVolumeType: 'nbd',
            data: { ...nbd, ...(options.export !== undefined && { export: options.export }) },
          };
  return { ...place, ...settings } as VolumeConnection;
}

async function readConnection(path: string): Promise<VolumeConnection> {
  try {
    return JSON.parse(await readFile(path === '-' ? '/dev/stdin' : path, 'utf8')) as VolumeConnection;
  } catch (error) {
    throw new UsageError(`--connection: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function nbdServer(text: string): { socket: string } | { host: string; port?: number } {
  if (text.startsWith('/')) return { socket: text };
  const found = /^([^:]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?$/.exec(text);
  if (!found) throw new InvalidArgumentError('must be the path of a socket, or HOST[:PORT]');
  const [, host = '', port] = found;
  return { host: host.replace(/^\[|\]$/g, ''), ...(port !== undefined && { port: Number(port) }) };
}
