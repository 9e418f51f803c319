// node-compute bench: the benchmarks of this package, on this host.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { ComputeError } from '../../driver/errors.js';
import { action, UsageError } from '../command.js';
import { withOutputOptions } from '../node-options.js';
import { USAGE } from '../output.js';

const RUNNER = fileURLToPath(new URL('../../../benchmarks/run.mjs', import.meta.url));
const DEFAULT_OUT = 'node-compute-bench';

interface BenchOptions {
  readonly all?: boolean;
  readonly list?: boolean;
  readonly rounds?: string;
  readonly count?: string;
  readonly out: string;
  readonly json: boolean;
}

export function benchCommand(): Command {
  return withOutputOptions(
    new Command('bench')
      .description(
        'measures this host: launches, terminations, bursts, beside QEMU alone and other ways to libvirt',
      )
      .argument('[scenario...]', 'names that --list tells; without any, the quick ones')
      .option('--list', 'the scenarios, and what each asks')
      .option('--all', 'every scenario, with more rounds')
      .option('--rounds <n>', 'turns of each contender')
      .option('--count <n>', 'counted operations of a turn')
      .option('--out <directory>', 'where the results and report.html go', DEFAULT_OUT),
  ).action(
    action(async ({ output, signal }, scenarios: string[], options: BenchOptions) => {
      const out = resolve(options.out);
      const words = [
        ...scenarios,
        ...(options.all ? ['--all'] : []),
        ...(options.list ? ['--list'] : []),
        ...(options.rounds ? ['--rounds', options.rounds] : []),
        ...(options.count ? ['--count', options.count] : []),
        ...(options.json ? ['--json'] : []),
      ];
      // The runner removes what it made when it is told to end, so it is told, and waited for.
      const runner = spawn(process.execPath, [RUNNER, ...words, '--out', out], {
        stdio: ['ignore', options.json ? 'pipe' : 'inherit', 'inherit'],
      });
      signal.addEventListener('abort', () => runner.kill('SIGTERM'));
      const ended = once(runner, 'close');
      const printed = runner.stdout ? await text(runner.stdout) : '{}';
      const [status] = (await ended) as [number | null];
      if (status === USAGE) throw new UsageError('can not be measured: the reason stands above');
      if (status !== 0) {
        throw new ComputeError(
          'HOST_UNSUITABLE',
          'not everything could be measured: the reason stands above',
          {
            operation: 'bench',
          },
        );
      }
      const fields = JSON.parse(printed) as Record<string, unknown>;
      output.result(fields, options.list ? '' : `report: ${join(out, 'report.html')}`);
    }),
  );
}
