// What may name an instance: paths and domain names are built from nothing else.
import { ComputeError } from './errors.js';
import { type Instance, instanceName } from './model.js';

/** RFC 9562, versions 1 to 8, in lower case: the form libvirt prints, so that texts can be compared. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The largest number that `instance-%08x` shows in eight digits. */
export const MAX_INSTANCE_ID = 0xffffffff;

export function isInstanceUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

/** Throws `INVALID_ARGUMENT` where the text is no UUID in canonical form; returns it. */
export function checkInstanceUuid(uuid: string, operation: string): string {
  if (isInstanceUuid(uuid)) return uuid;
  throw new ComputeError('INVALID_ARGUMENT', `${operation}: ${quote(uuid)} is not a UUID in lower case`, {
    operation,
  });
}

/** Throws `INVALID_ARGUMENT` unless uuid, id and name are what this library makes of them. */
export function checkInstanceIdentity(
  instance: Pick<Instance, 'uuid' | 'id' | 'name'>,
  operation: string,
): void {
  const { id, name } = instance;
  const instanceUuid = checkInstanceUuid(instance.uuid, operation);
  if (!Number.isInteger(id) || id < 1 || id > MAX_INSTANCE_ID) {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `${operation}: the id of an instance is 1 to 2^32 - 1, not ${id}`,
      {
        operation,
        instanceUuid,
      },
    );
  }
  if (name !== instanceName(id)) {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `${operation}: instance ${instanceUuid} with id ${id} is named ${instanceName(id)}, not ${quote(name)}`,
      { operation, instanceUuid },
    );
  }
}

function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** In lower case, as everything here stores it. Throws `INVALID_ARGUMENT`. */
export function canonicalUuid(uuid: string, operation: string): string {
  return checkInstanceUuid(typeof uuid === 'string' ? uuid.toLowerCase() : uuid, operation);
}
