// An instance with the place that a claim gave it.
import type { Instance } from '../driver/model.js';
import type { InstancePlacement } from '../driver/placement.js';

/** The place that it had before goes, also where the new claim gives none. */
export function placed(
  { placement: _before, ...rest }: Instance,
  placement: InstancePlacement | undefined,
): Instance {
  return { ...rest, ...(placement && { placement }) };
}
