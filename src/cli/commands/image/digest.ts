// node-compute image digest: the hash of a file.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { digestFile } from '../../../image/digest-file.js';
import { action } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';

export function digestCommand(): Command {
  return withOutputOptions(
    new Command('digest')
      .description('hash a file')
      .argument('<file>')
      .addOption(new Option('--algorithm <name>').choices(['md5', 'sha256', 'sha512']).default('sha256')),
  ).action(
    action(async (run, file: string, { algorithm }: { readonly algorithm: 'md5' | 'sha256' | 'sha512' }) => {
      const value = await digestFile(resolve(file), algorithm, { signal: run.signal });
      run.output.result({ algorithm, value }, value);
    }),
  );
}
