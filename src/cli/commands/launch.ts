// node-compute launch: an instance from flags or from a JSON request.
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { Command } from 'commander';
import type { ComputeNode, LaunchRequest } from '../../index.js';
import { action, type Run, UsageError } from '../command.js';
import {
  type ConfigDriveFlags,
  configDriveFromFlags,
  withConfigDriveOptions,
} from '../config-drive-flags.js';
import { append, pair, whole } from '../flag-values.js';
import { glanceFromEnvironment } from '../glance-environment.js';
import { type ImageFlags, imageFrom, withImageOptions } from '../image-flags.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';
import { Progress } from '../progress.js';
import { stepTable } from '../step-table.js';

interface LaunchFlags extends SharedOptions, ImageFlags, ConfigDriveFlags {
  readonly request?: string;
  readonly name?: string;
  readonly image?: string;
  readonly vcpus: number;
  readonly memory: number;
  readonly disk: number;
  readonly ephemeral: number;
  readonly swap: number;
  readonly network: readonly string[];
  readonly extraSpec: Readonly<Record<string, string>>;
  readonly waitFor?: string;
  readonly timeout: number;
}

/** How often --wait-for looks at the console. */
const LOOK_MS = 100;

export function launchCommand(): Command {
  const command = withNodeOptions(
    withImageOptions(
      new Command('launch')
        .description('launch an instance')
        .option('--request <file>', 'a JSON launch request (docs/embedding.md) in place of the flags below')
        .option('--name <name>', 'display name; default: the name of the image')
        .option(
          '--image <path|url|glance:id>',
          'a local file, an http(s) URL, or an image in the Glance of OS_AUTH_URL',
        )
        .option('--vcpus <count>', '', whole, 1)
        .option('--memory <MiB>', '', whole, 512)
        .option('--disk <GiB>', 'size of the root disk; 0 takes that of the image', whole, 0)
        .option('--ephemeral <GiB>', 'size of a second disk with an empty file system', whole, 0)
        .option('--swap <MiB>', 'size of a swap disk', whole, 0)
        .option('--network <bridge>', 'an interface on that Linux bridge; repeatable', append, [])
        .option('--extra-spec <key=value>', 'flavor extra spec (hw:*, quota:*); repeatable', pair, {})
        .option('--wait-for <text>', 'wait until the guest has written that to its console')
        .option('--timeout <seconds>', 'for the launch, and again for --wait-for', whole, 600),
    ),
  );
  return withConfigDriveOptions(command).action(
    action(async (run, flags: LaunchFlags) => {
      const request =
        flags.request === undefined ? await fromFlags(flags, run) : await fromFile(flags.request);
      const images =
        request.image?.source?.type === 'glance' ? glanceFromEnvironment(process.env) : undefined;
      await onNode({ ...flags, ...(images && { images }) }, (node) => launch(node, request, flags, run));
    }),
  );
}

async function launch(
  node: ComputeNode,
  request: LaunchRequest,
  flags: LaunchFlags,
  run: Run,
): Promise<void> {
  const { output, signal } = run;
  using progress = new Progress(output);
  const timeoutMs = flags.timeout * 1000;
  const result = await node.launch(request, { signal, timeoutMs, onProgress: (one) => progress.show(one) });
  progress[Symbol.dispose]();
  const { instance, steps, totalMs, imageCache } = result;
  if (flags.waitFor !== undefined) await waitFor(node, instance.uuid, flags.waitFor, timeoutMs, run);
  output.result(
    { instance, steps, totalMs, imageCache },
    `${stepTable(result)}\n${instance.displayName} runs as ${instance.name}, ${instance.uuid}`,
  );
}

async function waitFor(
  node: ComputeNode,
  uuid: string,
  text: string,
  timeoutMs: number,
  run: Run,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (performance.now() < end) {
    const written = new TextDecoder().decode(await node.console(uuid, { signal: run.signal }));
    const line = written.split('\n').find((one) => one.includes(text));
    if (line !== undefined) {
      run.output.note(line.trim());
      return;
    }
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
  }
  const { ComputeError } = await import('../../index.js');
  throw new ComputeError(
    'TIMEOUT',
    `instance ${uuid} runs, but did not write ${JSON.stringify(text)} within ${timeoutMs / 1000} s`,
    { operation: 'launch', instanceUuid: uuid },
  );
}

async function fromFlags(flags: LaunchFlags, run: Run): Promise<LaunchRequest> {
  if (flags.image === undefined) throw new UsageError('launch needs --image or --request');
  const image = await imageFrom(flags.image, flags, run);
  const configDrive = await configDriveFromFlags(flags);
  return {
    // A URL's query may hold a secret.
    name: flags.name ?? image.name ?? basename(flags.image.replace(/[?#].*$/, '')),
    flavor: {
      vcpus: flags.vcpus,
      memoryMb: flags.memory,
      rootGb: flags.disk,
      ephemeralGb: flags.ephemeral,
      swapMb: flags.swap,
      extraSpecs: flags.extraSpec,
    },
    image,
    networks: flags.network.map((bridge) => ({ bridge })),
    ...(configDrive && { configDrive }),
  };
}

/** The node checks what is in it. */
async function fromFile(path: string): Promise<LaunchRequest> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as LaunchRequest;
  } catch (error) {
    throw new UsageError(`--request ${path}: ${(error as Error).message}`);
  }
}
