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

/** Resolves when the guest writes to the new place. On failure and abort it goes on with the old one. */
export async function copyVolume(
  hypervisor: Hypervisor,
  change: DeviceChange,
  device: string,
  xml: string,
): Promise<void> {
  const { context, instance } = change;
  const stop = async (): Promise<void> => {
    const undo = change.undoContext();
    const running = await change.call((domain, id) => domain.blockJobInfo(device, id), undo);
    if (running) await change.call((domain, id) => domain.blockJobAbort(device, 0, id), undo);
  };
  // One that a process before this one has left.
  await stop();
  using watch = hypervisor.watchFor(
    instance.uuid,
    'copied',
    (event): event is BlockJob =>
      (event.type === 'block-job' && event.uuid === instance.uuid && event.disk === device) ||
      (event.type === 'lifecycle' && event.uuid === instance.uuid && event.event === 'stopped'),
  );
  change.undo.add('end the copy', stop);
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
  // It happens or it does not: an abort that comes now is too late.
  const { signal: _late, ...pivoting } = context;
  await change.call((domain, id) => domain.blockJobAbort(device, PIVOT, id), pivoting);
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
