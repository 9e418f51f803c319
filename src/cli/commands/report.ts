// node-compute report: the node and its instances, once or live.
import { Command } from 'commander';
import type { ComputeNode, FullReport, ReporterOptions } from '../../index.js';
import { action, type Run } from '../command.js';
import { whole } from '../flag-values.js';
import { LiveScreen } from '../live-screen.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';
import { reportLine, reportLines } from '../report-lines.js';

interface ReportOptions extends SharedOptions {
  readonly watch?: boolean;
  readonly interval: number;
}

const USAGE_GROUPS: NonNullable<ReporterOptions['usageGroups']> = ['cpu', 'memory', 'disk', 'network'];

export function reportCommand(): Command {
  return withNodeOptions(
    new Command('report')
      .description('the resources of this node, and what its instances use')
      .option(
        '--watch',
        'go on until Ctrl-C: a live table; elsewhere than on a terminal a line for each report',
      )
      .option(
        '--interval <seconds>',
        'between two samples with --watch; changes are shown at once',
        whole,
        2,
      ),
  ).action(
    action(async (run, options: ReportOptions) => {
      const intervalMs = Math.max(1, options.interval) * 1000;
      await onNode(options, async (node) => {
        if (options.watch) await watch(node, intervalMs, run);
        else await once(node, run);
      });
    }),
  );
}

async function once(node: ComputeNode, { output }: Run): Promise<void> {
  await using reporter = await node.reporter({ usageGroups: USAGE_GROUPS });
  const { report } = reporter;
  output.result({ report }, reportLines(report).join('\n'));
}

async function watch(node: ComputeNode, intervalMs: number, { output, signal }: Run): Promise<void> {
  await using reporter = await node.reporter({ intervalMs, usageGroups: USAGE_GROUPS });
  // A reader of reports alone does not keep the process alive.
  const alive = setInterval(() => undefined, 60_000);
  try {
    if (output.json) {
      const { reportJson } = await import('../../index.js');
      for await (const report of reporter.reports({ signal }))
        process.stdout.write(`${reportJson(report)}\n`);
      return;
    }
    using screen = process.stdout.isTTY ? new LiveScreen(process.stdout) : undefined;
    for await (const report of reporter.reports({ signal, whole: true })) {
      const full = report as FullReport;
      if (screen) screen.show(reportLines(full));
      else process.stdout.write(`${reportLine(full)}\n`);
    }
  } finally {
    clearInterval(alive);
  }
}
