// The first half of a live snapshot: what the guest has written since its base, copied by its QEMU while it runs, as of one moment.
import { ComputeError } from '../driver/errors.js';
import type { Instance } from '../driver/model.js';
import { createImage } from '../image/create-image.js';
import type { ImageLogger } from '../image/types.js';
import type { NativeDomain } from '../native.js';
import {
  BLOCK_COPY,
  type BlockJobWatch,
  type CopiedDomain,
  copyEnded,
  copyUntilReady,
  endCopy,
  watchCopy,
  within,
} from './block-copy.js';
import type { GuestAgent } from './guest-agent.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import type { DiskInfo } from './instance-disks.js';
import { type LiveDisk, parseDevices } from './live-devices.js';
import type { SnapshotContext } from './snapshot-destination.js';
import { element, serialize } from './xml/element.js';
import { readImageTerms } from './xml/vocabulary/image-terms.js';

/*
 * blockCopy and not virDomainBackupBegin: a shallow copy holds what stands above the base (64 MiB of a disk of 595, in 0.2 s),
 * a backup all of the disk (595 MiB in 2.5 s), and the engine reads the base itself, once. Nova's copy is this one, for which it
 * undefines the domain; libvirt has had a flag for domains with a definition since 1.2.9.
 */
const COPY_FLAGS = BLOCK_COPY.REUSE_EXT | BLOCK_COPY.TRANSIENT_JOB;
const SYNCHRONOUS_SINCE = 8_000_000;
/** For the one who watches. */
const LOOK_MS = 500;
/** The event of a copy that was ended comes with the return of the call. */
const EVENT_MS = 2_000;
const THAW_ATTEMPTS = 3;
const AGENT_TIMEOUT_MS = 10_000;
/** A libvirt that went away is back within this, or what it holds is left to the next start. */
const UNDO_TIMEOUT_MS = 60_000;
const AGAIN_MS = 250;

export interface CopyHost {
  readonly hypervisor: Hypervisor;
  readonly agent: GuestAgent;
  readonly logger: ImageLogger;
}

/** The root disk of one instance that has a QEMU. */
export class SnapshotCopy {
  readonly #host: CopyHost;
  readonly #instance: Instance;
  readonly #disk: string;

  constructor(host: CopyHost, instance: Instance, disk: string) {
    this.#host = host;
    this.#instance = instance;
    this.#disk = disk;
  }

  /**
   * The name and size of the disk in the running domain. Rejects with `INVALID_STATE` where the domain has no such disk,
   * `INSTANCE_BUSY` where its QEMU copies it already.
   */
  async look(context: CallContext): Promise<{ readonly device: string; readonly virtualSizeBytes: number }> {
    const disk = await this.#find(context);
    if (disk) {
      const device = disk.target;
      await this.#refuseBusy(disk, context);
      const virtualSizeBytes = await this.#call((d, id) => d.blockCapacity(device, id), context);
      return { device, virtualSizeBytes };
    }
    const { uuid } = this.#instance;
    throw new ComputeError(
      'INVALID_STATE',
      `snapshot: the domain of instance ${uuid} has no disk ${this.#disk}`,
      {
        operation: 'snapshot',
        instanceUuid: uuid,
      },
    );
  }

  /** Throws where the image demands what this instance cannot have, before anything is copied. */
  checkQuiesce(): void {
    const { hw_qemu_guest_agent: agent, os_require_quiesce: required } = this.#terms();
    if (!required || agent) return;
    const { uuid } = this.#instance;
    throw new ComputeError(
      'AGENT_UNAVAILABLE',
      `snapshot: the image of instance ${uuid} has os_require_quiesce, and no guest agent; give it the property hw_qemu_guest_agent=yes`,
      { operation: 'snapshot', instanceUuid: uuid, details: { reason: 'none' } },
    );
  }

  /** Makes `target` and fills it; from then on it follows the disk. {@link end} must follow in every case. */
  async start(
    { device, virtualSizeBytes }: { readonly device: string; readonly virtualSizeBytes: number },
    info: DiskInfo,
    target: string,
    watch: BlockJobWatch,
    context: SnapshotContext,
    onProgress: (doneBytes: number, totalBytes: number) => void,
  ): Promise<void> {
    await createImage(target, { virtualSizeBytes, backing: info.base, signal: context.signal });
    const { libvirt } = await this.#host.hypervisor.call(context, (connection, id) =>
      connection.versions(id),
    );
    const flags =
      COPY_FLAGS |
      (info.base ? BLOCK_COPY.SHALLOW : 0) |
      // However much the guest writes, the end is then no matter of time.
      (libvirt >= SYNCHRONOUS_SINCE ? BLOCK_COPY.SYNCHRONOUS_WRITES : 0);
    const xml = element('disk', { type: 'file', device: 'disk' }, [
      element('driver', { name: 'qemu', type: 'qcow2' }),
      element('source', { file: target }),
    ]);
    const options = { xml: serialize(xml), flags, lookMs: LOOK_MS, onProgress };
    await copyUntilReady(watch, this.#copied(context), device, options);
  }

  watch(device: string): BlockJobWatch {
    return watchCopy(this.#host.hypervisor, this.#instance.uuid, device);
  }

  /**
   * Ends a copy that holds all: its file is then the disk of this moment, closed. The file systems in the guest are frozen
   * meanwhile, and never for longer.
   */
  async cut(
    device: string,
    watch: BlockJobWatch,
    context: SnapshotContext,
  ): Promise<{ readonly quiesced: boolean; readonly pauseMs: number }> {
    const began = performance.now();
    const quiesced = await this.#freeze(context);
    try {
      // It happens or it does not: an abort that comes now is too late, and is looked at after it.
      const { signal: _late, ...whole } = context;
      await this.#call((d, id) => d.blockJobAbort(device, 0, id), whole);
    } finally {
      if (quiesced) await this.thaw();
    }
    const pauseMs = performance.now() - began;
    const event = await within(watch, EVENT_MS, context);
    const ended = event?.type === 'block-job' ? event.status : event?.detail;
    if (ended !== undefined && ended !== 'canceled' && ended !== 'completed') {
      throw copyEnded(this.#copied(context), device, ended);
    }
    if (context.signal.aborted) throw context.signal.reason;
    return { quiesced, pauseMs };
  }

  /** Idempotent; waits for a libvirt that went away. No copy, no guest and no domain are success. */
  async end(): Promise<void> {
    const context = this.#undoContext();
    await patiently(async () => {
      try {
        const disk = await this.#find(context);
        if (disk) await endCopy(this.#copied(context), disk.target, context);
      } catch (error) {
        if (!(ComputeError.is(error) && error.code === 'INSTANCE_NOT_FOUND')) throw error;
      }
    });
  }

  /** For a guest that may be frozen: tried again, since it can do nothing until it is thawed. Not frozen is success. */
  async thaw(): Promise<void> {
    const { uuid } = this.#instance;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await patiently(() => this.#host.agent.thaw(uuid, { timeoutMs: AGENT_TIMEOUT_MS }));
        return;
      } catch (error) {
        // A guest that is gone, or stands still, is not frozen by us.
        if (ComputeError.is(error) && (error.code === 'INVALID_STATE' || error.code === 'INSTANCE_NOT_FOUND'))
          return;
        if (attempt < THAW_ATTEMPTS) continue;
        this.#host.logger.error('the file systems of a guest may still be frozen', {
          uuid,
          error: String(error),
        });
        throw error;
      }
    }
  }

  /** By the way: of a guest of which it is not known whether it was frozen. */
  async thawIfAgent(): Promise<void> {
    if (this.#terms().hw_qemu_guest_agent) await this.thaw();
  }

  async #freeze(context: SnapshotContext): Promise<boolean> {
    const { hw_qemu_guest_agent: agent, os_require_quiesce: required } = this.#terms();
    if (!agent) return false;
    const { uuid } = this.#instance;
    try {
      await this.#host.agent.freeze(uuid, { signal: context.signal, timeoutMs: AGENT_TIMEOUT_MS });
      return true;
    } catch (error) {
      // An answer that is late, or lost: it may be frozen all the same.
      await this.thaw().catch(() => undefined);
      if (required || context.signal.aborted) throw error;
      this.#host.logger.warn('a snapshot is taken without freezing the file systems in the guest', {
        uuid,
        error: String(error),
      });
      return false;
    }
  }

  async #find(context: CallContext): Promise<LiveDisk | undefined> {
    const xml = await this.#call((d, id) => d.xml(0, id), context);
    return parseDevices(xml).disks.find(({ key }) => key === `file:${this.#disk}`);
  }

  async #refuseBusy({ target: device, copied }: LiveDisk, context: CallContext): Promise<void> {
    const job = await this.#call((d, id) => d.blockJobInfo(device, id), context);
    if (!job && !copied) return;
    const { uuid } = this.#instance;
    // A libvirt that was killed between the end of a copy and its note of that never ends it.
    const why = job
      ? 'another job works on it; wait for its end'
      : 'libvirt holds on to a copy that has ended; open the node again, or stop and start the instance';
    throw new ComputeError('INSTANCE_BUSY', `snapshot: disk ${device} of instance ${uuid}: ${why}`, {
      operation: 'snapshot',
      instanceUuid: uuid,
      retryable: true,
      details: { device, reason: job ? 'job' : 'ended-copy' },
    });
  }

  /** By a handle of its own, since one of a connection that was lost never works again. */
  async #call<T>(
    run: (domain: NativeDomain, callId: number) => Promise<T>,
    context: CallContext,
  ): Promise<T> {
    const { hypervisor } = this.#host;
    const domain = await hypervisor.domain(this.#instance.uuid, context);
    return await hypervisor.onDomain(domain, { ...context, waitOnAbort: true }, run);
  }

  #copied(context: CallContext): CopiedDomain {
    return {
      instance: this.#instance,
      context,
      call: (run, other = context) => this.#call(run, other),
    };
  }

  #terms() {
    return readImageTerms(this.#instance.image.properties).terms;
  }

  #undoContext(): CallContext {
    return { operation: 'undo of snapshot', instanceUuid: this.#instance.uuid, timeoutMs: UNDO_TIMEOUT_MS };
  }
}

/** A libvirtd that was killed is started again by whoever watches over it. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const end = performance.now() + UNDO_TIMEOUT_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const lost = ComputeError.is(error) && error.code === 'CONNECTION_LOST';
      if (!lost || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}
