// Why the host's cells do not hold a request, in figures.
import type { ClaimRecord, ClaimShortage } from './claims.js';
import type { HostTopology } from './host-topology.js';
import type { TopologyRequest } from './topology-request.js';

/** What a layout that found no place lacks; the cells themselves where each amount alone would do. */
export function layoutShortages(
  topology: HostTopology,
  { cells, pageSizeKib }: TopologyRequest,
  { pcpus, memoryMb }: ClaimRecord,
  { placed, hostCells }: { readonly placed: number; readonly hostCells: number },
): ClaimShortage[] {
  const short: ClaimShortage[] = [];
  if (pcpus && pcpus.used + pcpus.asked > pcpus.limit) {
    short.push({ resource: 'pcpus', rule: pcpus.asked > pcpus.total ? 'physical' : 'limit', ...pcpus });
  }
  if (pageSizeKib !== undefined) {
    const size = pageSizeKib === 'large' ? (topology.pageSizesKib.at(-1) ?? 2048) : pageSizeKib;
    const asked = Math.ceil((memoryMb.asked * 1024) / size);
    const { total, used } = topology.pages(size);
    const usage = { asked, total, reserved: 0, allocationRatio: 1, limit: total, used };
    if (used + asked > total) {
      short.push({ resource: 'hugepages', rule: asked > total ? 'physical' : 'limit', ...usage });
    }
  }
  if (short.length > 0) return short;
  const usage = { total: hostCells, reserved: 0, allocationRatio: 1, limit: hostCells };
  const rule = cells.length > hostCells ? 'physical' : 'limit';
  return [{ resource: 'numaCells', rule, asked: cells.length, used: hostCells - placed, ...usage }];
}
