// What Nova's database has of networks is compared with Neutron, one instance at a time: an event is lost with a broker.
import type { ComputeHost } from '../compute-host.js';
import { ownContext } from '../context.js';
import { reasonOf } from '../instance-record.js';
import type { InstanceNetworks } from './instance-networks.js';

/** Nova's heal_instance_info_cache_interval. */
export const HEAL_MS = 60_000;

export class NetworkHealing {
  readonly #host: ComputeHost;
  readonly #networks: InstanceNetworks;
  readonly #timer: NodeJS.Timeout | undefined;
  /** In this turn. */
  readonly #done = new Set<string>();
  #running: Promise<void> | undefined;

  /** `intervalMs` 0: never. */
  constructor(host: ComputeHost, networks: InstanceNetworks, intervalMs: number) {
    this.#host = host;
    this.#networks = networks;
    if (intervalMs === 0) return;
    this.#timer = setInterval(() => {
      this.#running ??= this.#healNext().finally(() => {
        this.#running = undefined;
      });
    }, intervalMs);
    this.#timer.unref();
  }

  /** Its host's signal has fired, or what is under way comes to its end. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #healNext(): Promise<void> {
    const { node, signal, busy, log } = this.#host;
    try {
      const uuids = (await node.list({ signal })).map(({ uuid }) => uuid);
      const left = uuids.filter((uuid) => !this.#done.has(uuid));
      if (left.length === 0) this.#done.clear();
      const uuid = left[0] ?? uuids[0];
      if (uuid === undefined) return;
      this.#done.add(uuid);
      if (!busy.has(uuid)) await this.#networks.refreshAll(uuid, { context: ownContext(), signal });
    } catch (error) {
      if (!signal.aborted) log.warn(`a comparison with Neutron failed: ${reasonOf(error)}`);
    }
  }
}
