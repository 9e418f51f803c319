// external_instance_event: what Neutron, and others, tell of an instance by way of Nova's API.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import type { RpcContext } from './envelope.js';
import { reasonOf, uuidOf } from './instance-record.js';
import { itemsOf } from './launch-message.js';
import type { InstanceNetworks } from './neutron/instance-networks.js';
import { NovaObject } from './nova-object.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** Nova's ComputeManager.external_instance_event. An event that fails holds up no other. */
export function externalEvents(host: ComputeHost): RpcMethod {
  return async ({ instances, events }, { context }) => {
    const known = new Set((Array.isArray(instances) ? instances : itemsOf(instances)).flatMap(uuidIn));
    const work = itemsOf(events).map(async (event) => {
      const uuid = String(event.get('instance_uuid'));
      const about = { instanceUuid: uuid, requestId: context['request_id'] };
      const name = String(event.get('name'));
      try {
        const isTaken =
          known.has(uuid) && host.networks && (await handle(host, host.networks, event, context));
        if (!isTaken) host.log.info(`event ${name} needs nothing here`, about);
      } catch (error) {
        if (host.signal.aborted) throw error;
        host.log.warn(`event ${name} of ${uuid} could not be followed: ${reasonOf(error)}`, about);
      }
    });
    await Promise.all(work);
  };
}

async function handle(
  { node, signal }: ComputeHost,
  networks: InstanceNetworks,
  event: NovaObject,
  context: RpcContext,
): Promise<boolean> {
  const uuid = String(event.get('instance_uuid'));
  const tag = event.get('tag');
  const portId = typeof tag === 'string' && tag !== '' ? tag : undefined;
  const call = { context, signal };
  switch (event.get('name')) {
    case 'network-vif-plugged':
      return networks.tell(uuid, String(tag), event.get('status') === 'failed' ? 'failed' : 'plugged');
    case 'network-changed':
      await (portId === undefined ? networks.refreshAll(uuid, call) : networks.refresh(uuid, portId, call));
      return true;
    case 'network-vif-deleted':
      // Neutron itself has the last word.
      if (portId === undefined || (await networks.has(uuid, portId))) return false;
      await node.detachInterface(uuid, portId, { signal }).catch(unlessNoDevice);
      await networks.refresh(uuid, portId, call);
      return true;
    default:
      return false;
  }
}

export function unlessNoDevice(error: unknown): void {
  if (!ComputeError.is(error) || error.code !== 'DEVICE_NOT_FOUND') throw error;
}

function uuidIn(instance: unknown): string[] {
  return instance instanceof NovaObject ? [uuidOf(instance)] : [];
}
