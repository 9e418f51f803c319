// Nova's _sync_power_states: what the events said of each instance, compared with what the hypervisor says.
import type { PowerState } from '../driver/model.js';
import { powerStateAfter } from '../driver/power-state.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';
import { reasonOf } from './node-errors.js';

type PowerSyncContext = Pick<NodeContext, 'driver' | 'instances' | 'log' | 'publish'>;

/** An event that is on its way needs no comparison. */
const GRACE_MS = 1000;

/**
 * Where both differ, events were lost: the truth is told by an event and noted in the journal. No instance is started or
 * stopped for it, other than Nova does: whoever started one behind the node's back meant it.
 */
export class PowerSync {
  readonly #context: PowerSyncContext;
  readonly #graceMs: number;
  readonly #stop = new AbortController();
  /** By the events, or by the last comparison. */
  readonly #told = new Map<string, PowerState>();
  #running: Promise<void> | undefined;

  constructor(context: PowerSyncContext, graceMs: number = GRACE_MS) {
    this.#context = context;
    this.#graceMs = graceMs;
  }

  /** Until the driver closes. Where it says that events were lost, states are compared at once. */
  async follow(): Promise<void> {
    const { driver, log } = this.#context;
    for await (const event of driver.events()) {
      if (event.type === 'lifecycle') {
        const state = powerStateAfter(event.event, event.detail);
        if (state !== undefined) this.#told.set(event.uuid, state);
        else if (event.event === 'undefined') this.#told.delete(event.uuid);
      } else if (event.type === 'gap' || event.type === 'resynced') {
        void this.run().catch((error: unknown) => log.warn(`power states: ${reasonOf(error)}`));
      }
    }
  }

  /** One comparison; a second call meanwhile joins it. Rejects with what the driver says. */
  async run(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#running ??= this.#compare().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  /** Resolves when none is under way any more. Idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running?.catch(() => undefined);
  }

  async #compare(): Promise<void> {
    const first = await this.#differing();
    if (first.size === 0) return;
    await this.#pause();
    if (this.#stop.signal.aborted) return;
    const second = await this.#differing();
    for (const [known, after] of second) {
      const before = this.#told.get(known.instance.uuid);
      if (first.get(known) !== after || before === undefined) continue;
      this.#told.set(known.instance.uuid, after);
      await this.#note(known, before, after);
    }
  }

  /** Those that nothing is being done with, with what the hypervisor says of them. */
  async #differing(): Promise<Map<KnownInstance, PowerState>> {
    const { driver, instances } = this.#context;
    const idle = [...instances.values()].filter(isIdle);
    const told = new Map(this.#told);
    const listed = await driver.listInstances({ signal: this.#stop.signal });
    const states = new Map(listed.map(({ uuid, powerState }) => [uuid, powerState]));
    const differing = new Map<KnownInstance, PowerState>();
    for (const known of idle) {
      const { uuid } = known.instance;
      const actual = states.get(uuid) ?? 'nostate';
      // Something was done with it, or an event came, while the hypervisor was asked.
      if (!isIdle(known) || instances.get(uuid) !== known || this.#told.get(uuid) !== told.get(uuid))
        continue;
      if (!this.#told.has(uuid)) this.#told.set(uuid, actual);
      else if (standing(this.#told.get(uuid)) !== standing(actual)) differing.set(known, actual);
    }
    return differing;
  }

  async #note(known: KnownInstance, before: PowerState, after: PowerState): Promise<void> {
    const { log, publish } = this.#context;
    const { uuid } = known.instance;
    log.warn(`instance ${uuid} is ${after}, the events had said ${before}`, {
      instanceUuid: uuid,
      before,
      after,
    });
    publish({ type: 'power-sync', timestamp: Date.now(), uuid, before, after });
    const runs = after === 'running' || after === 'paused';
    if (after === 'shutdown' && !known.journal.halted) {
      await known.journal.append({ event: 'halted' });
    } else if (runs && known.journal.halted) {
      // As of an operation that started it.
      await known.journal.append({ event: 'task', task: 'start' });
      await known.journal.append({ event: 'done' });
    }
  }

  async #pause(): Promise<void> {
    const { signal } = this.#stop;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#graceMs);
      timer.unref();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

/** Drivers differ in what they call one whose process died. */
function standing(state: PowerState | undefined): PowerState | undefined {
  return state === 'crashed' ? 'shutdown' : state;
}

function isIdle(known: KnownInstance): boolean {
  return known.phase === 'ready' && known.task === undefined;
}
