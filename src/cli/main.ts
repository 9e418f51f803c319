#!/usr/bin/env -S MALLOC_ARENA_MAX=2 node --max-semi-space-size=1
// The command line: node-compute COMMAND. Exit status 0, 1 for a failure, 2 for a wrong call.
// An agent runs for months: without the first line it would hold some 25 MB more, for objects that live shortly and idle threads.
import { Command, CommanderError } from 'commander';
import { ComputeError } from '../driver/errors.js';
import { packageVersion } from '../version.js';
import { agentCommand } from './commands/agent.js';
import { benchCommand } from './commands/bench.js';
import { consoleCommand } from './commands/console.js';
import { doctorCommand } from './commands/doctor.js';
import { domainXmlCommand } from './commands/domain-xml.js';
import {
  agentPingCommand,
  consoleUrlCommand,
  diagnosticsCommand,
  screenshotCommand,
  setPasswordCommand,
} from './commands/guest.js';
import { imageCommand } from './commands/image.js';
import { interfaceCommand } from './commands/interface.js';
import { launchCommand } from './commands/launch.js';
import { listCommand } from './commands/list.js';
import {
  crashCommand,
  rebootCommand,
  resumeCommand,
  startCommand,
  stopCommand,
  suspendCommand,
  terminateCommand,
  unrescueCommand,
} from './commands/power.js';
import { reportCommand } from './commands/report.js';
import { rebuildCommand, rescueCommand } from './commands/rescue.js';
import { confirmResizeCommand, resizeCommand, revertResizeCommand } from './commands/resize.js';
import { showCommand } from './commands/show.js';
import { snapshotCommand } from './commands/snapshot.js';
import { volumeCommand } from './commands/volume.js';
import { Output, USAGE } from './output.js';

// `node-compute list | head -1` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const commands = [
  doctorCommand(),
  launchCommand(),
  listCommand(),
  showCommand(),
  reportCommand(),
  consoleCommand(),
  stopCommand(),
  startCommand(),
  rebootCommand(),
  suspendCommand(),
  resumeCommand(),
  crashCommand(),
  rescueCommand(),
  unrescueCommand(),
  rebuildCommand(),
  resizeCommand(),
  confirmResizeCommand(),
  revertResizeCommand(),
  terminateCommand(),
  snapshotCommand(),
  volumeCommand(),
  interfaceCommand(),
  diagnosticsCommand(),
  consoleUrlCommand(),
  screenshotCommand(),
  agentPingCommand(),
  setPasswordCommand(),
  domainXmlCommand(),
  imageCommand(),
  benchCommand(),
  agentCommand(),
];

const program = new Command('node-compute')
  .description(
    'Launches and manages virtual machines through libvirt; caches their images, reports the host.',
  )
  .version(packageVersion())
  .showHelpAfterError('(node-compute help COMMAND tells more)');

const json = process.argv.includes('--json');
for (const command of commands) program.addCommand(command);
for (const command of withSubcommands(program)) {
  command.exitOverride();
  if (json) command.configureOutput({ writeErr: () => {} });
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  if (error.exitCode !== 0) {
    process.exitCode = USAGE;
    if (json) new Output({ json, debug: false }).failure(usageFailure(error));
  }
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap((one) => withSubcommands(one))];
}

function usageFailure(error: CommanderError): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', error.message.replace(/^error: /, ''));
}
