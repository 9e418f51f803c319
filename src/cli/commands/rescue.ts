// node-compute rescue, rebuild: an instance started from another image, for a while or for good.
import type { Command } from 'commander';
import { action } from '../command.js';
import {
  type ConfigDriveFlags,
  configDriveFromFlags,
  withConfigDriveOptions,
} from '../config-drive-flags.js';
import { glanceFromEnvironment } from '../glance-environment.js';
import {
  IMAGE_PLACE,
  IMAGE_PLACE_HELP,
  type ImageFlags,
  imageFrom,
  withImageOptions,
} from '../image-flags.js';
import type { SharedOptions } from '../node-options.js';
import { Progress } from '../progress.js';
import { onInstance, operate, seconds } from './power.js';

interface ChangeFlags extends SharedOptions, ImageFlags {
  readonly image?: string;
  readonly timeout: number;
}

interface RebuildFlags extends ChangeFlags, ConfigDriveFlags {
  readonly image: string;
  readonly name?: string;
  readonly preserveEphemeral: boolean;
}

/** With what a Glance image needs of its server. */
function nodeOptions<T extends ChangeFlags>(flags: T): T {
  const images = flags.image?.startsWith('glance:') ? glanceFromEnvironment(process.env) : undefined;
  return { ...flags, ...(images && { images }) };
}

function withTimeout(command: Command): Command {
  return command.option('--timeout <seconds>', 'given to the guest to shut itself down', seconds, 60);
}

export function rescueCommand(): Command {
  const command = onInstance('rescue', 'boot it from another disk, its own ones behind that').option(
    `--image ${IMAGE_PLACE}`,
    `${IMAGE_PLACE_HELP}; default: the image it was launched from`,
  );
  return withTimeout(withImageOptions(command)).action(
    action(async (run, wanted: string, flags: ChangeFlags) => {
      const image = flags.image === undefined ? undefined : await imageFrom(flags.image, flags, run);
      using progress = new Progress(run.output);
      await operate(run, wanted, nodeOptions(flags), 'is rescued', (node, uuid) =>
        node.rescue(uuid, {
          signal: run.signal,
          shutdownTimeoutMs: flags.timeout * 1000,
          onProgress: (one) => progress.show(one),
          ...(image && { image }),
        }),
      );
    }),
  );
}

export function rebuildCommand(): Command {
  const command = onInstance('rebuild', 'new disks from an image; what is on the old ones is lost')
    .requiredOption(`--image ${IMAGE_PLACE}`, IMAGE_PLACE_HELP)
    .option('--name <name>', 'new display name')
    .option('--preserve-ephemeral', 'the ephemeral disk stays as it is', false);
  return withConfigDriveOptions(withTimeout(withImageOptions(command))).action(
    action(async (run, wanted: string, flags: RebuildFlags) => {
      const { name, preserveEphemeral, timeout } = flags;
      const image = await imageFrom(flags.image, flags, run);
      const configDrive = await configDriveFromFlags(flags);
      const request = {
        image,
        preserveEphemeral,
        ...(name && { name }),
        ...(configDrive && { configDrive }),
      };
      using progress = new Progress(run.output);
      await operate(run, wanted, nodeOptions(flags), 'is rebuilt', (node, uuid) =>
        node.rebuild(uuid, request, {
          signal: run.signal,
          shutdownTimeoutMs: timeout * 1000,
          onProgress: (one) => progress.show(one),
        }),
      );
    }),
  );
}
