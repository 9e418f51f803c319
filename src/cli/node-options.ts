// The options that every command shares, from flags and environment, and the node that they describe.
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ComputeNode, ComputeNodeOptions, ImageCache } from '../index.js';
import { DEFAULT_INSTANCES_PATH } from '../node/node-options.js';
import type { GlanceEnvironment } from './glance-environment.js';

export interface SharedOptions {
  readonly json: boolean;
  readonly debug: boolean;
  readonly instancesPath?: string;
  readonly driver?: string;
  readonly uri?: string;
  readonly root?: string;
  readonly virtType?: string;
  /** For the driver's image cache. */
  readonly images?: GlanceEnvironment;
}

type Shared = readonly [flags: string, description: string, variable: string];

const SHARED: readonly [Shared, ...Shared[]] = [
  ['--instances-path <dir>', 'where instances and images live', 'NODE_COMPUTE_INSTANCES_PATH'],
  [
    '--uri <uri>',
    'a libvirt URI such as qemu:///system; default: libvirt in this process',
    'NODE_COMPUTE_URI',
  ],
  ['--root <dir>', "directory of the embedded libvirt's own state", 'NODE_COMPUTE_ROOT'],
  ['--driver <name>', 'compute driver', 'NODE_COMPUTE_DRIVER'],
  ['--virt-type <type>', 'auto, kvm or qemu', 'NODE_COMPUTE_VIRT_TYPE'],
];

/** Adds `--json` and `--debug`. */
export function withOutputOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON object', false)
    .option('--debug', 'show the stack of a failure', false);
}

/** Adds what says which node is meant. */
export function withNodeOptions(command: Command): Command {
  for (const [flags, description, variable] of SHARED) {
    command.addOption(new Option(flags, description).env(variable));
  }
  return withOutputOptions(command);
}

/** Adds what says which image cache is meant: that of a node, which may be running. */
export function withCacheOptions(command: Command): Command {
  const [[flags, description, variable]] = SHARED;
  return withOutputOptions(command.addOption(new Option(flags, description).env(variable)));
}

export function toNodeOptions(options: SharedOptions): ComputeNodeOptions {
  const { instancesPath, driver, uri, root, virtType, images } = options;
  return {
    ...(driver !== undefined && { driver }),
    ...(instancesPath !== undefined && { instancesPath }),
    driverOptions: {
      ...(uri !== undefined && { uri }),
      ...(root !== undefined && { root }),
      ...(virtType !== undefined && { virtType }),
      ...(images && { images }),
    },
  };
}

/** On the image cache of that node, beside whatever process holds the node. */
export async function onCache<T>(
  { instancesPath = DEFAULT_INSTANCES_PATH, images }: Pick<SharedOptions, 'instancesPath' | 'images'>,
  run: (cache: ImageCache) => Promise<T>,
): Promise<T> {
  const { ImageCache } = await import('../index.js');
  await using cache = new ImageCache({ ...images, instancesPath: resolve(instancesPath) });
  return await run(cache);
}

/** Opens the node, runs the command, closes it. Guests go on running. */
export async function onNode<T>(options: SharedOptions, run: (node: ComputeNode) => Promise<T>): Promise<T> {
  const { ComputeNode } = await import('../index.js');
  await using node = await ComputeNode.open(toNodeOptions(options));
  return await run(node);
}
