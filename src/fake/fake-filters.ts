// The network filters of a fake hypervisor: those that libvirt brings.
import { ComputeError } from '../driver/errors.js';
import type { Vif } from '../driver/model.js';
import type { FakeCall } from './fake-call.js';

const FILTERS: ReadonlySet<string> = new Set([
  'clean-traffic',
  'clean-traffic-gateway',
  'no-arp-spoofing',
  'no-ip-spoofing',
  'no-mac-spoofing',
]);

/** Throws `UNSUPPORTED`. */
export function checkFilters(vifs: readonly Vif[], { operation, instanceUuid }: FakeCall): void {
  const missing = vifs.find(({ filter }) => filter !== undefined && !FILTERS.has(filter))?.filter;
  if (missing === undefined) return;
  throw new ComputeError(
    'UNSUPPORTED',
    `${operation}: instance ${instanceUuid} cannot have the network filter ${missing}: there is no such filter`,
    { operation, instanceUuid, details: { filter: missing } },
  );
}
