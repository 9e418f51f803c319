// node-compute interface attach, detach.
import { Command } from 'commander';
import { action } from '../command.js';
import { whole } from '../flag-values.js';
import { findInstance } from '../instance-name.js';
import { onNode, type SharedOptions, withNodeOptions } from '../node-options.js';

interface NetworkOptions {
  readonly bridge?: string;
  readonly mac?: string;
  readonly port?: string;
  readonly mtu?: number;
  readonly network?: string;
  readonly physicalInterface?: string;
  readonly vlan?: number;
  readonly filter?: string;
}

export function interfaceCommand(): Command {
  return new Command('interface')
    .description('attach and detach network interfaces')
    .addCommand(attachCommand())
    .addCommand(detachCommand());
}

function attachCommand(): Command {
  return withInstance('attach', 'give an instance one more network interface')
    .option('--bridge <name>', 'made where missing; br-ncompute by default')
    .option('--mac <address>', 'random by default')
    .option('--port <uuid>', 'of the port; random by default')
    .option('--mtu <bytes>', 'that the guest is told', whole)
    .option('--network <uuid>', 'whose bridge it is: brq and 11 characters of it')
    .option('--physical-interface <name>', 'that joins the bridge to a network of the host')
    .option('--vlan <id>', 'of that interface, 1 to 4094', whole)
    .option('--filter <name>', "libvirt's network filter, such as clean-traffic")
    .action(
      action(async ({ output, signal }, wanted: string, options: SharedOptions & NetworkOptions) => {
        const { bridge, mac, port, mtu, network: networkId, physicalInterface, vlan, filter } = options;
        const network = {
          ...(bridge !== undefined && { bridge }),
          ...(mac !== undefined && { mac }),
          ...(port !== undefined && { portId: port }),
          ...(mtu !== undefined && { mtu }),
          ...(networkId !== undefined && { networkId }),
          ...(physicalInterface !== undefined && { physicalInterface }),
          ...(vlan !== undefined && { vlan }),
          ...(filter !== undefined && { filter }),
        };
        await onNode(options, async (node) => {
          const { uuid, displayName } = await findInstance(node, wanted);
          const vif = await node.attachInterface(uuid, network, { signal });
          output.result({ uuid, vif }, `${displayName} (${uuid}) has ${vif.mac} on ${vif.bridge}`);
        });
      }),
    );
}

function detachCommand(): Command {
  return withInstance('detach', 'take a network interface away')
    .argument('<port>', 'UUID of the port, or MAC address')
    .action(
      action(async ({ output, signal }, wanted: string, port: string, options: SharedOptions) => {
        await onNode(options, async (node) => {
          const { uuid, displayName } = await findInstance(node, wanted);
          await node.detachInterface(uuid, port, { signal });
          output.result({ uuid, port }, `${displayName} (${uuid}) has ${port} no more`);
        });
      }),
    );
}

function withInstance(name: string, description: string): Command {
  return withNodeOptions(new Command(name).description(description).argument('<instance>', 'UUID or name'));
}
