// node-compute diagnostics, screenshot, console-url, set-password, agent-ping: what concerns the system in a guest.
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import type { ConsoleEndpoint } from '../../index.js';
import { action, UsageError } from '../command.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';
import { table } from '../output.js';

function onInstance(name: string, description: string): Command {
  return withNodeOptions(new Command(name).description(description).argument('<instance>', 'UUID or name'));
}

export function diagnosticsCommand(): Command {
  return onInstance('diagnostics', 'figures of a running instance').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await onNode(options, async (node) => {
        const { uuid } = await findInstance(node, wanted);
        const { cpuDetails, nicDetails, diskDetails, memoryDetails, ...rest } = await node.guests.diagnostics(
          uuid,
          { signal: run.signal },
        );
        const diagnostics = { ...rest, cpuDetails, nicDetails, diskDetails, memoryDetails };
        const rows = [
          ...Object.entries(rest),
          ...Object.entries(memoryDetails),
          ...cpuDetails.map(({ id, timeNs }) => [`cpu ${id}`, `${timeNs} ns`] as const),
          ...diskDetails.map(
            (one) => [`disk ${one.name}`, `${one.readBytes} read, ${one.writeBytes} written`] as const,
          ),
          ...nicDetails.map(
            (one) => [`nic ${one.macAddress}`, `${one.rxOctets} in, ${one.txOctets} out`] as const,
          ),
        ];
        const text = table(
          ['figure', 'value'],
          rows.map(([name, value]) => [name, String(value ?? '')]),
        );
        run.output.result({ uuid, diagnostics }, text);
      });
    }),
  );
}

export function consoleUrlCommand(): Command {
  return onInstance('console-url', 'where a VNC, SPICE or serial client connects to')
    .addOption(
      new Option('--type <type>', 'of the console').choices(['vnc', 'spice', 'serial']).default('vnc'),
    )
    .action(
      action(
        async (run, wanted: string, options: SharedOptions & { readonly type: ConsoleEndpoint['type'] }) => {
          await onNode(options, async (node) => {
            const { uuid } = await findInstance(node, wanted);
            const endpoint = await node.guests.consoleEndpoint(uuid, options.type, { signal: run.signal });
            const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
            run.output.result({ uuid, console: endpoint }, `${endpoint.type}://${host}:${endpoint.port}`);
          });
        },
      ),
    );
}

export function screenshotCommand(): Command {
  return onInstance('screenshot', 'writes what the screen shows, as PNG or PPM')
    .argument('<file>', 'a new file')
    .action(
      action(async (run, wanted: string, file: string, options: SharedOptions) => {
        await onNode(options, async (node) => {
          const { uuid } = await findInstance(node, wanted);
          const { mimeType, data } = await node.guests.screenshot(uuid, { signal: run.signal });
          await writeFile(file, data, { flag: 'wx', mode: 0o600 });
          run.output.result({ uuid, file, mimeType }, `${file}: ${mimeType}, ${data.length} bytes`);
        });
      }),
    );
}

export function agentPingCommand(): Command {
  return onInstance('agent-ping', 'asks whether the agent in the guest answers').action(
    action(async (run, wanted: string, options: SharedOptions) => {
      await onNode(options, async (node) => {
        const { uuid, displayName } = await findInstance(node, wanted);
        await node.guests.pingAgent(uuid, { signal: run.signal });
        run.output.result({ uuid }, `the agent of ${displayName} (${uuid}) answers`);
      });
    }),
  );
}

/** The password comes by standard input: arguments can be read by every user of the host. */
export function setPasswordCommand(): Command {
  return onInstance(
    'set-password',
    'sets a password in the guest, by its agent; reads it from standard input',
  )
    .option('--user <name>', 'default root, Administrator on Windows')
    .action(
      action(async (run, wanted: string, options: SharedOptions & { readonly user?: string }) => {
        const password = await firstLine(process.stdin);
        if (password === '') throw new UsageError('no password came by standard input');
        await onNode(options, async (node) => {
          const { uuid, displayName } = await findInstance(node, wanted);
          const { user } = options;
          await node.guests.setAdminPassword(uuid, password, {
            signal: run.signal,
            ...(user !== undefined && { user }),
          });
          run.output.result({ uuid }, `the password in ${displayName} (${uuid}) is set`);
        });
      }),
    );
}

const LINE_MAX = 64 * 1024;

async function firstLine(input: NodeJS.ReadStream): Promise<string> {
  let text = '';
  for await (const chunk of input) {
    text += String(chunk);
    if (text.includes('\n') || text.length > LINE_MAX) break;
  }
  return text.split('\n', 1)[0]?.replace(/\r$/, '') ?? '';
}
