// `node-compute agent`: this host as one of Nova's, until it is told to end.
import { Command } from 'commander';
import type { AgentConfig } from '../../agent/agent-config.js';
import type { Logger } from '../../node/types.js';
import { action } from '../command.js';
import { withOutputOptions } from '../node-options.js';

interface AgentFlags {
  readonly config: string;
  readonly check: boolean;
}

export function agentCommand(): Command {
  return withOutputOptions(new Command('agent').description("serve Nova's control plane as its compute host"))
    .requiredOption('--config <file>', 'YAML, see docs/agent.md')
    .option('--check', 'only check the configuration', false)
    .action(
      action(async ({ output, signal }, { config: path, check }: AgentFlags) => {
        const { readAgentConfig } = await import('../../index.js');
        const config = await readAgentConfig(path);
        if (check) output.result({ config: path }, `${path} is well-formed`);
        else await serve(config, signal);
      }),
    );
}

/** Until the signal, and then until the commands under way have ended. */
async function serve(config: AgentConfig, signal: AbortSignal): Promise<void> {
  const { ComputeAgent, AgentMonitor } = await import('../../index.js');
  const logger = await pinoLogger(config.log.level);
  const monitor = await AgentMonitor.open(config.monitor);
  logger.info(`answers those who watch it at ${monitor.url}`);
  try {
    const agent = await ComputeAgent.open({ ...config.agent, logger }, { signal });
    monitor.agent = agent;
    await aborted(signal);
    logger.info('the agent ends: commands under way are given their time');
    await agent.close({ graceMs: config.graceMs });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await monitor.close();
  }
}

/** Keeps the process alive meanwhile. */
async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const alive = setInterval(() => undefined, 2 ** 30);
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  clearInterval(alive);
}

/** One JSON object a line on standard output. */
async function pinoLogger(level: string): Promise<Logger> {
  const { pino } = await import('pino');
  const log = pino({ level, formatters: { log: plain } });
  const at =
    (name: keyof Logger) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      log[name](fields, message);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function plain(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, typeof value === 'bigint' ? String(value) : value]),
  );
}
