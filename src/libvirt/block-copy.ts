// A copy of a running guest's disk, made by its QEMU: begun, watched until it holds all, ended.
import { ComputeError } from '../driver/errors.js';
import type { DriverEvent } from '../driver/model.js';
import type { NativeDomain } from '../native.js';
import type { EventWatch } from './event-watch.js';
import type { CallContext, Hypervisor } from './hypervisor.js';

/** virDomainBlockCopyFlags. */
export const BLOCK_COPY = {
  /** What stands above the backing file only. */
  SHALLOW: 1,
  /** The target is there. */
  REUSE_EXT: 2,
  /** Also of a domain with a definition. */
  TRANSIENT_JOB: 4,
  /** Once it holds all, a write of the guest is in both places before the guest is told. libvirt 8.0. */
  SYNCHRONOUS_WRITES: 8,
} as const;

/** The copy tells of itself by events; an event that was lost with a connection is looked up after this long. */
const LOOK_MS = 5_000;

type BlockJob = Extract<DriverEvent, { type: 'block-job' | 'lifecycle' }>;
export type BlockJobWatch = EventWatch<BlockJob>;

/** Whose disk is copied. */
export interface CopiedDomain {
  readonly instance: { readonly uuid: string };
  readonly context: CallContext;
  /** One call whose end is awaited, so that it can be undone. */
  call<T>(run: (domain: NativeDomain, callId: number) => Promise<T>, context?: CallContext): Promise<T>;
}

export interface CopyOptions {
  readonly xml: string;
  /** Of {@link BLOCK_COPY}. */
  readonly flags: number;
  /** Looked up every so many milliseconds, for `onProgress`. Default 5000. */
  readonly lookMs?: number;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

/** Made before the copy: the event may come before the call returns. Dispose of it in every case. */
export function watchCopy(hypervisor: Hypervisor, uuid: string, device: string): BlockJobWatch {
  return hypervisor.watchFor(
    uuid,
    'copied',
    (event): event is BlockJob =>
      (event.type === 'block-job' && event.uuid === uuid && event.disk === device) ||
      (event.type === 'lifecycle' && event.uuid === uuid && event.event === 'stopped'),
  );
}

/** Resolves when the copy holds all that the disk does, and goes on following it. */
export async function copyUntilReady(
  watch: BlockJobWatch,
  copied: CopiedDomain,
  device: string,
  { xml, flags, lookMs = LOOK_MS, onProgress }: CopyOptions,
): Promise<void> {
  const { context } = copied;
  await copied.call((domain, id) => domain.blockCopy(device, xml, flags, id));
  for (let ready = false; !ready; ) {
    const event = await within(watch, lookMs, context);
    if (event?.type === 'block-job') ready = event.status === 'ready';
    if (event && !ready) {
      throw copyEnded(copied, device, event.type === 'block-job' ? event.status : event.detail);
    }
    if (!event) {
      const job = await copied.call((domain, id) => domain.blockJobInfo(device, id));
      if (!job) throw copyEnded(copied, device, 'unknown');
      onProgress?.(job.current, job.end);
      ready = job.end > 0 && job.current === job.end;
    }
  }
  if (context.signal?.aborted) throw context.signal.reason;
}

/** The next event, or undefined when that time is over. */
export async function within(
  watch: BlockJobWatch,
  timeoutMs: number,
  context: CallContext,
): Promise<BlockJob | undefined> {
  return await watch.next({ ...context, timeoutMs }).catch((error: unknown) => {
    if (ComputeError.is(error) && error.code === 'TIMEOUT' && !context.signal?.aborted) return undefined;
    throw error;
  });
}

/** The guest goes on with the disk as it is. No copy under way, and no guest, are success. */
export async function endCopy(copied: CopiedDomain, device: string, context: CallContext): Promise<void> {
  try {
    const job = await copied.call((domain, id) => domain.blockJobInfo(device, id), context);
    if (job) await copied.call((domain, id) => domain.blockJobAbort(device, 0, id), context);
  } catch (error) {
    if (!(ComputeError.is(error) && error.code === 'INVALID_STATE')) throw error;
  }
}

export function copyEnded({ context, instance }: CopiedDomain, device: string, why: string): ComputeError {
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
