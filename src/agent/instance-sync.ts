// Nova's database kept true to the host: what a guest did by itself, and what was deleted while no agent ran.
import type { PowerState } from '../driver/model.js';
import type { ComputeHost } from './compute-host.js';
import { ownContext } from './context.js';
import { RemoteError } from './errors.js';
import { type Fields, InstanceRecord, isGoing, powerCode, reasonOf } from './instance-record.js';
import type { NovaObject } from './nova-object.js';
import { persist } from './persist.js';
import { terminate } from './terminate-command.js';

/** Nova's sync_power_state_interval. */
const PASS_MS = 600_000;
/** A guest that stops on the way to something else is left alone, as in Nova's handling of libvirt's events. */
const SETTLE_MS = 2000;
/** Of servers whose guests are not to run. */
const AT_REST: readonly unknown[] = ['stopped', 'shelved', 'shelved_offloaded', 'soft-delete'];
/** Senders come back to the broker one by one, too. */
const RECONNECT_MS = 5000;

export class InstanceSync {
  readonly #host: ComputeHost;
  readonly #reclaimMs: number;
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  readonly #timer: NodeJS.Timeout;
  readonly #stop = new AbortController();
  #soon: NodeJS.Timeout | undefined;
  readonly #running = new Set<Promise<void>>();

  /** Milliseconds after which soft-deleted servers are deleted; 0 for never. */
  constructor(host: ComputeHost, reclaimMs: number) {
    this.#host = host;
    this.#reclaimMs = reclaimMs;
    this.#timer = setInterval(() => this.#background(this.pass()), PASS_MS);
    this.#timer.unref();
    this.#background(this.#follow());
  }

  /** All instances of the host, here and at the conductor. */
  async pass(): Promise<void> {
    const { conductor, name, node, signal } = this.#host;
    const records = await persist(signal, () => conductor.instancesOf(name, [], { signal }));
    const known = new Set<unknown>();
    for (const record of records) {
      known.add(record.get('uuid'));
      await this.#check(record);
    }
    const here = (await node.list({ signal })).map(({ uuid }) => uuid);
    await this.#removeDeleted(here.filter((uuid) => !known.has(uuid) && !this.#host.busy.has(uuid)));
  }

  /** The broker is back: what was sent meanwhile may be lost. */
  passSoon(): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#background(this.pass()), RECONNECT_MS);
    this.#soon.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#stop.abort();
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    await Promise.all(this.#running);
  }

  async #follow(): Promise<void> {
    for await (const event of this.#host.node.events({ signal: this.#stop.signal })) {
      if (event.type === 'lifecycle') this.#checkSoon(event.uuid);
      if (event.type === 'gap' || event.type === 'resynced') this.#background(this.pass());
    }
  }

  #checkSoon(uuid: string): void {
    if (this.#waiting.has(uuid)) return;
    const timer = setTimeout(() => {
      this.#waiting.delete(uuid);
      if (!this.#host.busy.has(uuid)) this.#background(this.#checkOne(uuid));
    }, SETTLE_MS);
    timer.unref();
    this.#waiting.set(uuid, timer);
  }

  async #checkOne(uuid: string): Promise<void> {
    const { conductor, signal } = this.#host;
    try {
      await this.#check(await persist(signal, () => conductor.instance(uuid, [], { signal })));
    } catch (error) {
      // One that is being launched or deleted, or none of Nova's.
      if (!RemoteError.of(error, 'InstanceNotFound')) throw error;
    }
  }

  async #check(object: NovaObject): Promise<void> {
    const { name, busy, log } = this.#host;
    const record = new InstanceRecord(this.#host, object, ownContext());
    if (object.get('host') !== name || busy.has(record.uuid)) return;
    if (record.taskState === 'deleting') return await this.#finishDeletion(record);
    if (record.taskState !== null) return;
    try {
      if (this.#isForgotten(record)) return await this.#reclaim(record);
      const power = await record.powerState();
      const changes = await this.#changes(record, power);
      if (!changes || busy.has(record.uuid)) return;
      await record.save(changes, [null]);
      log.info(`instance ${record.uuid} was ${String(record.vmState)}, and is ${power}`, {
        instanceUuid: record.uuid,
      });
    } catch (error) {
      // A command has come meanwhile: it knows better.
      if (!isGoing(error) && !RemoteError.of(error, 'UnexpectedTaskStateError')) throw error;
    }
  }

  /** As Nova at its start: the command was lost with a broker, or is still to come and will find nothing. */
  async #finishDeletion(record: InstanceRecord): Promise<void> {
    const { busy, log } = this.#host;
    await busy.during(record.uuid, () => terminate(this.#host, record));
    log.info(`instance ${record.uuid} was to be deleted, and was terminated`, { instanceUuid: record.uuid });
  }

  #isForgotten({ vmState, object }: InstanceRecord): boolean {
    const since = vmState === 'soft-delete' ? object.time('deleted_at') : null;
    return this.#reclaimMs > 0 && since !== null && since.getTime() + this.#reclaimMs < Date.now();
  }

  /** Nova's _reclaim_queued_deletes. Its user may have restored it meanwhile, and with this task cannot any more. */
  async #reclaim(record: InstanceRecord): Promise<void> {
    await record.save({ task_state: 'deleting' }, [null]);
    if (record.vmState === 'soft-delete') await this.#finishDeletion(record);
    else await record.save({ task_state: null }, ['deleting']);
  }

  /** As Nova's _sync_instance_power_state; a guest that runs against its user's will is stopped. */
  async #changes(record: InstanceRecord, power: PowerState): Promise<Fields | undefined> {
    const { node, signal } = this.#host;
    const had = record.vmState === 'active' || record.vmState === 'paused';
    if (had && (power === 'shutdown' || power === 'crashed')) {
      return { vm_state: 'stopped', power_state: powerCode(power) };
    }
    if (AT_REST.includes(record.vmState) && power === 'running') {
      await node.shutdown(record.uuid, { signal, shutdownTimeoutMs: this.#host.shutdownTimeoutMs });
      return { power_state: powerCode('shutdown') };
    }
    const code = powerCode(power);
    return code === record.object.get('power_state') ? undefined : { power_state: code };
  }

  /** What the database has as deleted goes from the host; what it has not at all is somebody else's. */
  async #removeDeleted(uuids: readonly string[]): Promise<void> {
    if (uuids.length === 0) return;
    const { conductor, node, placement, networks, signal, log } = this.#host;
    const context = { ...ownContext(), read_deleted: 'yes' };
    const filters = { args: [{ deleted: true, soft_deleted: false, uuid: uuids }] };
    const deleted = await persist(signal, () =>
      conductor.list('InstanceList', 'get_by_filters', filters, { context, signal }),
    );
    for (const uuid of deleted.map((one) => String(one.get('uuid')))) {
      await node.terminate(uuid, { signal });
      await networks?.release(uuid, [], { context, signal });
      await persist(signal, () => placement.removeConsumer(uuid));
      log.warn(`instance ${uuid} had been deleted from Nova, and was removed`, { instanceUuid: uuid });
    }
  }

  #background(work: Promise<void>): void {
    const running: Promise<void> = work
      .catch((error: unknown) => {
        if (this.#stop.signal.aborted || this.#host.signal.aborted) return;
        this.#host.log.warn(`the comparison with Nova's database failed: ${reasonOf(error)}`);
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }
}
