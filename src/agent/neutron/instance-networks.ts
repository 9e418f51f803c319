// The networks of the host's instances: ports in Neutron, what Nova's database has of them, and that they are plugged in.
import { isDeepStrictEqual } from 'node:util';
import { ComputeError } from '../../driver/errors.js';
import type { Logger, NetworkRequest } from '../../node/types.js';
import type { Conductor } from '../conductor.js';
import { InstanceTurns } from '../instance-turns.js';
import { persist } from '../persist.js';
import type { CallOptions } from '../rpc-client.js';
import { InfoCache } from './info-cache.js';
import { type CachedVif, isActive, networkInfo } from './network-info.js';
import { Neutron, type NeutronOptions } from './neutron.js';
import { PlugEvents, type PlugState, type PlugWatch } from './plug-events.js';
import {
  type AllocatedPorts,
  type NetworkWish,
  PortAllocation,
  type PortWish,
  refused,
} from './port-allocation.js';
import type { PortOwner } from './port-binding.js';
import { vifRequest } from './vif-request.js';

const PLUGGING_MS = 300_000;
/** An event is lost with a broker; Neutron itself knows as well. */
const ASK_MS = 5000;

/** For one launch. */
export interface PluggedNetworks extends Disposable {
  readonly requests: readonly NetworkRequest[];
  /** Resolves when all ports are plugged in. Undefined: there is nothing to wait for. */
  readonly plugged: (() => Promise<void>) | undefined;
}

export interface InstanceNetworksOptions {
  readonly neutron: NeutronOptions;
  readonly conductor: Conductor;
  /** To which ports are bound. */
  readonly hostName: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** While Neutron or the conductor are away it waits for them. Changes of one instance's ports are made one after another. */
export class InstanceNetworks {
  readonly #neutron: Neutron;
  readonly #options: InstanceNetworksOptions;
  readonly #allocation: PortAllocation;
  readonly #cache: InfoCache;
  readonly #events = new PlugEvents();
  readonly #turns = new InstanceTurns();

  /** Throws `INVALID_ARGUMENT`; asks nobody yet. */
  constructor(options: InstanceNetworksOptions) {
    const { neutron, conductor, hostName, signal } = options;
    this.#options = options;
    this.#neutron = new Neutron(neutron, signal);
    this.#allocation = new PortAllocation(this.#neutron, hostName, signal);
    this.#cache = new InfoCache(conductor, signal);
  }

  /** For a build. On failure {@link release} has to follow. */
  async allocate(
    owner: PortOwner,
    wish: Exclude<NetworkWish, 'none'>,
    securityGroups: readonly string[],
    call: CallOptions,
  ): Promise<PluggedNetworks> {
    return await this.#prepare(owner.uuid, call, () =>
      this.#allocation.allocate(owner, wish, securityGroups),
    );
  }

  /** For a launch of an instance that has its ports already, bound to another host or to none. On failure {@link leave} has to follow. */
  async arrive(owner: PortOwner, call: CallOptions): Promise<PluggedNetworks> {
    return await this.#prepare(owner.uuid, call, async () => {
      const cached = await this.#cache.read(owner.uuid, call);
      const known = cached.map(({ id }) => id);
      return {
        ports: await this.#allocation.bringHere(owner, known),
        given: new Set(preserved(cached)),
      };
    });
  }

  /** Its ports are bound to this host no more, and stay the instance's, in Nova's database as well. May be done already. */
  async leave(uuid: string): Promise<void> {
    await this.#turns.take(uuid, () => this.#allocation.leaveHost(uuid));
  }

  /**
   * All ports of an instance that is no more, or was never there: those of its user, by `given` and by Nova's database, are
   * unbound, the others deleted. Each may be done already.
   */
  async release(uuid: string, given: readonly string[], call: CallOptions): Promise<void> {
    await this.#turns.take(uuid, async () => {
      const cached = await this.#cache.read(uuid, call);
      await this.#allocation.release(uuid, new Set([...given, ...preserved(cached)]));
      if (cached.length > 0) await this.#cache.save(uuid, [], call);
    });
  }

  /** One more port of an instance that stands; all of it is undone where `plug` rejects. */
  async attach(
    owner: PortOwner,
    wish: PortWish | 'any',
    plug: (request: NetworkRequest) => Promise<void>,
    call: CallOptions,
  ): Promise<CachedVif> {
    const { uuid } = owner;
    return await this.#turns.take(uuid, async () => {
      const cached = await this.#cache.read(uuid, call);
      const portId = wish === 'any' ? undefined : wish.portId;
      if (cached.some(({ id }) => id === portId)) {
        throw refused('PortInUse', `port ${portId} is attached to instance ${uuid} already`, owner);
      }
      const before = new Set((await this.#allocation.portsOf(uuid)).map(({ id }) => id));
      const given = new Set(portId === undefined ? [] : [portId]);
      try {
        const list = wish === 'any' ? wish : [wish];
        const { ports } = await this.#allocation.allocate(owner, list, [], before);
        const [vif] = await this.#describe(ports, given);
        if (!vif) throw refused('NetworkNotFound', `project ${owner.projectId} has no network`, owner);
        const request = vifRequest(vif);
        await this.#cache.save(uuid, [...cached, vif], call);
        await plug(request);
        return vif;
      } catch (error) {
        if (!this.#options.signal.aborted) {
          await this.#allocation.release(uuid, given, (id) => !before.has(id));
          await this.#cache.save(uuid, cached, call);
        }
        throw error;
      }
    });
  }

  /** `unplug` comes first. False: the instance has no such port. */
  async detach(
    uuid: string,
    portId: string,
    unplug: () => Promise<void>,
    call: CallOptions,
  ): Promise<boolean> {
    return await this.#turns.take(uuid, async () => {
      const cached = await this.#cache.read(uuid, call);
      if (!cached.some(({ id }) => id === portId)) return false;
      await unplug();
      await this.#allocation.release(uuid, new Set(preserved(cached)), (id) => id === portId);
      await this.#cache.save(
        uuid,
        cached.filter(({ id }) => id !== portId),
        call,
      );
      return true;
    });
  }

  /** Nova's database is told what Neutron says of a port; one that is gone goes. Nova: network-changed. */
  async refresh(uuid: string, portId: string, call: CallOptions): Promise<void> {
    await this.#turns.take(uuid, async () => {
      const cached = await this.#cache.read(uuid, call);
      const ports = (await this.#allocation.portsOf(uuid)).filter(({ id }) => id === portId);
      const [fresh] = await this.#describe(ports, new Set(preserved(cached)));
      const vifs = cached.flatMap((vif) => (vif.id === portId ? (fresh ?? []) : [vif]));
      const isNew = fresh && !cached.some(({ id }) => id === portId);
      await this.#cache.save(uuid, isNew ? [...vifs, fresh] : vifs, call);
    });
  }

  /** Of all ports that it has in Nova's database. One that is gone stays: Neutron tells of that. */
  async refreshAll(uuid: string, call: CallOptions): Promise<void> {
    await this.#turns.take(uuid, async () => {
      const cached = await this.#cache.read(uuid, call);
      if (cached.length === 0) return;
      const known = new Set(cached.map(({ id }) => id));
      const ports = (await this.#allocation.portsOf(uuid)).filter(({ id }) => known.has(id));
      const fresh = await this.#describe(ports, new Set(preserved(cached)));
      const vifs = cached.map((vif) => fresh.find(({ id }) => id === vif.id) ?? vif);
      if (!isDeepStrictEqual(vifs, cached)) await this.#cache.save(uuid, vifs, call);
    });
  }

  /** Whether Neutron still has the port, and as one of this instance. */
  async has(uuid: string, portId: string): Promise<boolean> {
    return (await this.#allocation.portsOf(uuid)).some(({ id }) => id === portId);
  }

  /** False: nobody waits for it. */
  tell(uuid: string, portId: string, state: PlugState): boolean {
    return this.#events.tell(uuid, portId, state);
  }

  async close(): Promise<void> {
    await this.#neutron.close();
  }

  async #prepare(
    uuid: string,
    call: CallOptions,
    bind: () => Promise<AllocatedPorts>,
  ): Promise<PluggedNetworks> {
    const watch = this.#events.watch(uuid);
    try {
      return await this.#turns.take(uuid, async () => {
        const { ports, given } = await bind();
        const vifs = await this.#describe(ports, given);
        await this.#cache.save(uuid, vifs, call);
        const waiting = vifs.filter(({ active }) => !active).map(({ id }) => id);
        const isWaitedFor = waiting.length > 0 && this.#pluggingMs > 0;
        return {
          requests: vifs.map(vifRequest),
          plugged: isWaitedFor ? this.#eachPlugged(uuid, waiting, watch) : undefined,
          [Symbol.dispose]: () => watch[Symbol.dispose](),
        };
      });
    } catch (error) {
      watch[Symbol.dispose]();
      throw error;
    }
  }

  get #pluggingMs(): number {
    return this.#options.neutron.vifPluggingTimeoutMs ?? PLUGGING_MS;
  }

  async #describe(
    ports: Awaited<ReturnType<Neutron['ports']>>,
    given: ReadonlySet<string>,
  ): Promise<CachedVif[]> {
    const { signal, neutron } = this.#options;
    const { ovsBridge = 'br-int' } = neutron;
    return await persist(signal, () => networkInfo(this.#neutron, ports, { ovsBridge, given }));
  }

  /** A launch that is made again has other taps. */
  #eachPlugged(uuid: string, portIds: readonly string[], watch: PlugWatch): () => Promise<void> {
    let isAgain = false;
    return async () => {
      if (isAgain) watch.forget();
      isAgain = true;
      await this.#plugged(uuid, portIds, watch);
    };
  }

  async #plugged(uuid: string, portIds: readonly string[], watch: PlugWatch): Promise<void> {
    const { neutron, log, signal } = this.#options;
    const end = performance.now() + this.#pluggingMs;
    for (let askAt = performance.now() + ASK_MS; ; ) {
      const failed = portIds.find((id) => watch.state(id) === 'failed');
      const missing = portIds.filter((id) => watch.state(id) === undefined);
      const now = performance.now();
      if (watch.isOver || (failed === undefined && missing.length === 0)) return;
      if (failed !== undefined || now >= end) {
        const error = notPlugged(uuid, failed ?? missing[0], failed !== undefined);
        if (neutron.vifPluggingIsFatal ?? true) throw error;
        log.warn(`${error.message}; it runs all the same`, { instanceUuid: uuid });
        return;
      }
      if (now >= askAt) {
        for (const port of await this.#allocation.portsOf(uuid))
          if (isActive(port)) watch.tell(port.id, 'plugged');
        askAt = now + ASK_MS;
      } else await watch.changed(Math.min(askAt, end) - now, signal);
    }
  }
}

function preserved(vifs: readonly CachedVif[]): string[] {
  return vifs.filter(({ preserve_on_delete: isGiven }) => isGiven).map(({ id }) => id);
}

function notPlugged(instanceUuid: string, portId: string | undefined, isFailed: boolean): ComputeError {
  const why = isFailed ? 'could not plug in' : 'did not say in time that it has plugged in';
  return new ComputeError('NEUTRON_FAILED', `instance ${instanceUuid}: Neutron ${why} port ${portId}`, {
    operation: 'plug ports in',
    instanceUuid,
    details: { type: 'VirtualInterfaceCreateException', portId },
  });
}
