// The flags of a launch that say what is on the config drive.
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { ConfigDriveFormat, ConfigDriveRequest } from '../index.js';
import { UsageError } from './command.js';
import { pair } from './flag-values.js';

export interface ConfigDriveFlags {
  /** True where the flag has no value. */
  readonly configDrive?: ConfigDriveFormat | true;
  readonly userData?: string;
  readonly meta: Readonly<Record<string, string>>;
  readonly file: Readonly<Record<string, string>>;
}

export function withConfigDriveOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--config-drive [format]',
        'a drive that cloud-init reads, openstack by default; implied by the flags below',
      ).choices(['openstack', 'nocloud']),
    )
    .option('--user-data <file>', 'a script or cloud-config for the guest')
    .option('--meta <key=value>', 'metadata for the guest; repeatable', pair, {})
    .option('--file <path=local>', 'a local file that the guest finds at path; repeatable', pair, {});
}

/** Undefined where no flag asks for a drive. The node checks sizes and names. */
export async function configDriveFromFlags(flags: ConfigDriveFlags): Promise<ConfigDriveRequest | undefined> {
  const { configDrive, userData, meta } = flags;
  const files = Object.entries(flags.file);
  const wanted = Object.keys(meta).length > 0 || files.length > 0 || userData !== undefined;
  if (configDrive === undefined && !wanted) return undefined;
  return {
    ...(configDrive !== undefined && configDrive !== true && { format: configDrive }),
    ...(Object.keys(meta).length > 0 && { metadata: meta }),
    ...(userData !== undefined && { userData: await base64Of('--user-data', userData) }),
    ...(files.length > 0 && {
      files: await Promise.all(
        files.map(async ([path, local]) => ({ path, contents: await base64Of('--file', local) })),
      ),
    }),
  };
}

async function base64Of(flag: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'base64');
  } catch (error) {
    throw new UsageError(`${flag} ${path}: ${(error as Error).message}`);
  }
}
