// external_instance_event: what Neutron, and others, tell of an instance by way of Nova's API.
import { ComputeError } from '../driver/errors.js';
import { type ComputeHost, stands } from './compute-host.js';
import type { RpcContext } from './envelope.js';
import { isUuid, reasonOf } from './instance-record.js';
import { itemsOf } from './launch-message.js';
import type { NovaObject } from './nova-object.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** Nova's ComputeManager.external_instance_event. An event that fails holds up no other. */
export function externalEvents(host: ComputeHost): RpcMethod {
  return async ({ events }, { context }) => {
    const all = itemsOf(events);
    // Somebody waits for these, and the others take their time.
    const sorted = [...all.filter(isPlugged), ...all.filter((event) => !isPlugged(event))];
    for (const event of sorted) await follow(host, event, context);
  };
}

async function follow(host: ComputeHost, event: NovaObject, context: RpcContext): Promise<void> {
  const { log, signal } = host;
  const [name, uuid] = [String(event.get('name')), String(event.get('instance_uuid'))];
  const about = { instanceUuid: uuid, requestId: context['request_id'] };
  try {
    const isDone = (await isHere(host, uuid)) && (await handle(host, event, context));
    if (!isDone) log.info(`event ${name} needs nothing here`, about);
  } catch (error) {
    if (signal.aborted) throw error;
    log.warn(`event ${name} of ${uuid} could not be followed: ${reasonOf(error)}`, about);
  }
}

/** Another host's instances are not looked after here, whatever a message says. */
async function isHere(host: ComputeHost, uuid: string): Promise<boolean> {
  return host.busy.has(uuid) || (isUuid(uuid) && (await stands(host, uuid)));
}

function isPlugged(event: NovaObject): boolean {
  return event.get('name') === 'network-vif-plugged';
}

async function handle(
  { networks, volumes, signal, node }: ComputeHost,
  event: NovaObject,
  context: RpcContext,
): Promise<boolean> {
  const uuid = String(event.get('instance_uuid'));
  const tag = event.get('tag');
  const call = { context, signal };
  if (event.get('name') === 'volume-extended') {
    return isUuid(tag) && volumes !== undefined && (await volumes.extended({ uuid, call }, tag));
  }
  if (!networks) return false;
  const portId = typeof tag === 'string' && tag !== '' ? tag : undefined;
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
