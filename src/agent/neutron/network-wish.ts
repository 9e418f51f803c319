// The networks that a message asks for, Nova's NetworkRequestList, and for whom.
import { ComputeError } from '../../driver/errors.js';
import type { InstanceRecord } from '../instance-record.js';
import { itemsOf } from '../launch-message.js';
import type { NovaObject } from '../nova-object.js';
import type { NetworkWish, PortWish } from './port-allocation.js';
import type { PortOwner } from './port-binding.js';

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** Throws `UNSUPPORTED` for devices of PCI, accelerators and tags, `INVALID_ARGUMENT`. */
export function networkWish(requests: unknown): NetworkWish {
  const items = itemsOf(requests);
  const wishes = items.map(portWish);
  const [only] = wishes;
  if (items.length > 1) return wishes.map((one) => checkedWish(one));
  if (!only || Object.keys(only).length === 0) return 'any';
  return only.networkId === 'none' || only.networkId === 'auto' ? only.networkId : [checkedWish(only)];
}

export function ownerOf({ uuid, object, call }: InstanceRecord): PortOwner {
  const textOrNone = (field: string): string | undefined => {
    const value = object.get(field);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  return {
    uuid,
    projectId: String(object.get('project_id')),
    hostname: textOrNone('hostname'),
    availabilityZone: textOrNone('availability_zone'),
    isAdmin: call.context['is_admin'] === true,
  };
}

function portWish(request: NovaObject): PortWish {
  for (const field of ['pci_request_id', 'arq_uuid', 'device_profile', 'tag']) {
    if (request.get(field) != null) throw unsupported(`an interface with a ${field}`);
  }
  const [networkId, portId, address] = ['network_id', 'port_id', 'address'].map((name) => request.get(name));
  return {
    ...(typeof networkId === 'string' && { networkId }),
    ...(typeof portId === 'string' && { portId }),
    ...(typeof address === 'string' && { address }),
  };
}

function checkedWish(wish: PortWish): PortWish {
  const { networkId, portId } = wish;
  const ids = [networkId, portId].filter((id) => id !== undefined);
  if (ids.length > 0 && ids.every((id) => UUID.test(id))) return wish;
  throw new ComputeError('INVALID_ARGUMENT', 'an interface is asked for by the uuid of its network or port', {
    operation: 'networks',
  });
}

function unsupported(what: string): ComputeError {
  return new ComputeError('UNSUPPORTED', `this host does not have ${what}`, { operation: 'networks' });
}
