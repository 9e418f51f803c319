// What Placement has of a server: given by a scheduler before it sends it to a host.
import { expect, vi } from 'vitest';
import type { PrivatePlacement } from '../../scripts/private-placement.mjs';
import type { ComputeAgent } from '../../src/index.js';
import { WAIT } from './sent.js';

export async function allocate(
  placement: PrivatePlacement,
  { reporter }: ComputeAgent,
  uuid: string,
): Promise<void> {
  await vi.waitFor(
    () => expect(reporter.sinks.map(({ sequence }) => sequence)).not.toContain(undefined),
    WAIT,
  );
  // What a test before has left is of a host that is no more; the agent may be removing it just now.
  if (Object.keys(await allocations(placement, uuid)).length > 0) {
    await placement.call('DELETE', `/allocations/${uuid}`).catch(() => undefined);
  }
  await placement.call('PUT', `/allocations/${uuid}`, {
    allocations: { [reporter.report.nodeUuid]: { resources: { VCPU: 1, MEMORY_MB: 64, DISK_GB: 1 } } },
    project_id: 'demo',
    user_id: 'admin',
    consumer_generation: null,
    consumer_type: 'INSTANCE',
  });
}

/** By provider. */
export async function allocations(placement: PrivatePlacement, uuid: string): Promise<object> {
  const answer = (await placement.call('GET', `/allocations/${uuid}`)) as { readonly allocations: object };
  return answer.allocations;
}
