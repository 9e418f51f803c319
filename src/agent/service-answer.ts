// What a service of OpenStack answered with success: read by a schema, or refused with what is wrong with it.
import type * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { check } from '../driver/schema.js';
import type { Service, ServiceAnswer } from '../node/service-transport.js';

/** A refusal of a proxy before the service, or of its own start: it comes back. */
export function isAway({ status }: ServiceAnswer): boolean {
  return status === 502 || status === 503 || status === 504;
}

/** Throws the service's failure. `what` was asked of it. */
export function checkedAnswer<T>(
  { name, failure }: Pick<Service, 'name' | 'failure'>,
  what: string,
  schema: v.GenericSchema<unknown, T>,
  body: unknown,
): T {
  const known = check(schema, body);
  if (!known.problems) return known.value;
  const problems = known.problems.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new ComputeError(failure, `${name}: ${what}: its answer is none (${problems.join('; ')})`, {
    operation: what,
  });
}
