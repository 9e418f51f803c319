// The copy of a running guest's disk to another place, and its change over to that place.
import { ComputeError } from '../driver/errors.js';
import type { DriverEvent } from '../driver/model.js';
import type { DeviceChange } from './device-change.js';
import type { Hypervisor } from './hypervisor.js';

/** VIR_DOMAIN_BLOCK_COPY_REUSE_EXT: the new volume is there; _TRANSIENT_JOB: also of a domain with a definition. */
const COPY_FLAGS = 2 | 4;
/** VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT. */
const PIVOT = 2;
/** The copy tells of itself by events; an event that was lost with a connection is looked up after this long. */
const LOOK_MS = 5_000;

type BlockJob = Extract<DriverEvent, { type: 'block-job' | 'lifecycle' }>;

/** Resolves when the guest writes to the new place, the volume of that key. On failure and abort it goes on with the old one. */
export async function copyVolume(
  hypervisor: Hypervisor,
  change: DeviceChange,
  device: string,
  xml: string,
  key: string,
): Promise<void> {
  const { context, instance } = change;
  // One that a process before this one has left.
  await endCopy(change, device);
  using watch = hypervisor.watchFor(
    instance.uuid,
    'copied',
    (event): event is BlockJob =>
      (event.type === 'block-job' && event.uuid === instance.uuid && event.disk === device) ||
      (event.type === 'lifecycle' && event.uuid === instance.uuid && event.event === 'stopped'),
  );
  change.undo.add('end the copy', () => endCopy(change, device));
  await change.call((domain, id) => domain.blockCopy(device, xml, COPY_FLAGS, id));
  for (let ready = false; !ready; ) {
    const event = await watch.next({ ...context, timeoutMs: LOOK_MS }).catch((error: unknown) => {
      if (ComputeError.is(error) && error.code === 'TIMEOUT' && !context.signal?.aborted) return undefined;
      throw error;
    });
    if (event?.type === 'block-job') ready = event.status === 'ready';
    if (event && !ready)
      throw ended(change, device, event.type === 'block-job' ? event.status : event.detail);
    if (!event) {
      const job = await change.call((domain, id) => domain.blockJobInfo(device, id));
      if (!job) throw ended(change, device, 'unknown');
      ready = job.end > 0 && job.current === job.end;
    }
  }
  if (context.signal?.aborted) throw context.signal.reason;
  await pivot(change, device, key);
}

/** It happens or it does not: an abort that comes now is too late, and an answer that is lost is looked up. */
async function pivot(change: DeviceChange, device: string, key: string): Promise<void> {
  const { signal: _late, ...context } = change.context;
  try {
    await change.call((domain, id) => domain.blockJobAbort(device, PIVOT, id), context);
  } catch (error) {
    const { disks } = await change.live(change.undoContext());
    if (disks.find(({ target }) => target === device)?.key !== key) throw error;
  }
}

/** The guest goes on with the disk as it is. No copy under way, and no guest, are success. */
export async function endCopy(change: DeviceChange, device: string): Promise<void> {
  const context = change.undoContext();
  try {
    const job = await change.call((domain, id) => domain.blockJobInfo(device, id), context);
    if (job) await change.call((domain, id) => domain.blockJobAbort(device, 0, id), context);
  } catch (error) {
    if (!(ComputeError.is(error) && error.code === 'INVALID_STATE')) throw error;
  }
}

function ended({ context, instance }: DeviceChange, device: string, why: string): ComputeError {
  return new ComputeError(
    'HYPERVISOR',
    `${context.operation}: the copy of ${device} of instance ${instance.uuid} ended before it was whole: ${why}`,
    {
      operation: context.operation,
      instanceUuid: instance.uuid,
      retryable: true,
      details: { device, status: why },
    },
  );
}
