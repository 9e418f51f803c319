// attach_interface, detach_interface: one more port, or one less, of an instance that stands.
import { ComputeError } from '../driver/errors.js';
import type { NetworkRequest } from '../node/types.js';
import type { ComputeHost } from './compute-host.js';
import { deviceCommand } from './device-command.js';
import { RpcFailure } from './errors.js';
import { unlessNoDevice } from './external-events.js';
import type { CommandArguments } from './instance-command.js';
import { type InstanceRecord, reasonOf } from './instance-record.js';
import type { InstanceNetworks } from './neutron/instance-networks.js';
import type { CachedVif } from './neutron/network-info.js';
import { networkWish, ownerOf } from './neutron/network-wish.js';
import { noNeutron } from './neutron/no-neutron.js';
import { outlast } from './outage.js';
import type { RpcMethod } from './rpc-endpoint.js';

type Work<T> = (
  networks: InstanceNetworks,
  record: InstanceRecord,
  args: CommandArguments,
  isRepeated: boolean,
) => Promise<T>;

/** By the names of Nova's RPC. */
export function interfaceCommands(
  host: ComputeHost,
): Record<'attach_interface' | 'detach_interface', RpcMethod> {
  const { node, signal } = host;
  return {
    attach_interface: async (args, invocation) => {
      try {
        return await command(host, 'attach_interface', attach)(args, invocation);
      } catch (error) {
        throw failureOf(error);
      }
    },
    detach_interface: command(host, 'detach_interface', async (networks, record, args, isRepeated) => {
      const portId = String(args['port_id']);
      const unplug = (): Promise<void> =>
        outlast(host, record.uuid, () =>
          node.detachInterface(record.uuid, portId, { signal }).catch(unlessNoDevice),
        );
      if ((await networks.detach(record.uuid, portId, unplug, record.call)) || isRepeated) return;
      throw new ComputeError('DEVICE_NOT_FOUND', `instance ${record.uuid} has no port ${portId}`, {
        operation: 'detach_interface',
        instanceUuid: record.uuid,
      });
    }),
  };

  async function attach(
    networks: InstanceNetworks,
    record: InstanceRecord,
    args: CommandArguments,
  ): Promise<CachedVif> {
    // Before anything is made for one that is not here.
    await node.get(record.uuid, { signal });
    const { network_id, port_id, requested_ip: address, tag } = args;
    const request = host.conductor.newObject('NetworkRequest', { network_id, port_id, address, tag });
    const wish = networkWish([request]);
    const [one] = Array.isArray(wish) ? wish : [];
    const plug = async (wanted: NetworkRequest): Promise<void> => {
      await node.attachInterface(record.uuid, wanted, { signal });
    };
    return await networks.attach(ownerOf(record), one ?? 'any', plug, record.call);
  }
}

function command<T>(host: ComputeHost, name: string, work: Work<T>): RpcMethod {
  return deviceCommand(host, name, {
    run: async (record, args, isRepeated) => {
      if (!host.networks) throw noNeutron(record.uuid);
      return await work(host.networks, record, args, isRepeated);
    },
  });
}

/** Neutron's words, as exceptions of which Nova's API makes the right status. */
const FAILURES: Readonly<Record<string, string>> = {
  PortNotFound: 'PortNotFound',
  NetworkNotFound: 'NetworkNotFound',
  PortInUse: 'PortInUse',
  PortNotUsable: 'PortNotUsable',
  PortNotUsableDNS: 'PortNotUsableDNS',
  NetworkAmbiguous: 'NetworkAmbiguous',
  SecurityGroupCannotBeApplied: 'SecurityGroupCannotBeApplied',
  OverQuota: 'PortLimitExceeded',
  IpAddressGenerationFailure: 'NoMoreFixedIps',
  IpAddressInUse: 'FixedIpAlreadyInUse',
  IpAddressAlreadyAllocated: 'FixedIpAlreadyInUse',
  InvalidIpForNetwork: 'InvalidInput',
};

function failureOf(error: unknown): unknown {
  if (!ComputeError.is(error)) return error;
  const known = FAILURES[String(error.details['type'])];
  const usual = error.code === 'INSTANCE_NOT_FOUND' ? 'InstanceNotFound' : 'InterfaceAttachFailed';
  return new RpcFailure({ class: known ?? usual, message: reasonOf(error) }, { cause: error });
}
