// The networks of the host's instances: ports in Neutron, what Nova's database has of them, and that they are plugged in.
import { isDeepStrictEqual } from 'node:util';
import { ComputeError } from '../../driver/errors.js';
import type { Logger, NetworkRequest } from '../../node/types.js';
import type { Conductor } from '../conductor.js';
import { RemoteError } from '../errors.js';
import { InstanceTurns } from '../instance-turns.js';
import { persist } from '../persist.js';
import type { CallOptions } from '../rpc-client.js';
import { type CachedVif, isActive, networkInfo } from './network-info.js';
import { Neutron, type NeutronOptions } from './neutron.js';
import { PlugEvents, type PlugState, type PlugWatch } from './plug-events.js';
import {
  type NetworkWish,
  PortAllocation,
  type PortOwner,
  type PortWish,
  refused,
} from './port-allocation.js';
import { vifRequest } from './vif-request.js';

const PLUGGING_MS = 300_000;
/** An event is lost with a broker; Neutron itself knows as well. */
const ASK_MS = 5000;

/** Of an instance that is no more. */
const GONE: readonly string[] = ['InstanceNotFound', 'InstanceInfoCacheNotFound'];

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
  readonly #events = new PlugEvents();
  readonly #turns = new InstanceTurns();

  /** Throws `INVALID_ARGUMENT`; asks nobody yet. */
  constructor(options: InstanceNetworksOptions) {
    const { neutron, hostName, signal } = options;
    this.#options = options;
    this.#neutron = new Neutron(neutron, signal);
    this.#allocation = new PortAllocation(this.#neutron, hostName, signal);
  }

  /** For a build. On failure {@link release} has to follow. */
  async allocate(
    owner: PortOwner,
    wish: Exclude<NetworkWish, 'none'>,
    securityGroups: readonly string[],
    call: CallOptions,
  ): Promise<PluggedNetworks> {
    const watch = this.#events.watch(owner.uuid);
    try {
      return await this.#turns.take(owner.uuid, async () => {
        const { ports, given } = await this.#allocation.allocate(owner, wish, securityGroups);
        const vifs = await this.#describe(ports, given);
        await this.#save(owner.uuid, vifs, call);
        const waiting = vifs.filter(({ active }) => !active).map(({ id }) => id);
        const isWaitedFor = waiting.length > 0 && this.#pluggingMs > 0;
        return {
          requests: vifs.map(vifRequest),
          plugged: isWaitedFor ? () => this.#plugged(owner.uuid, waiting, watch) : undefined,
          [Symbol.dispose]: () => watch[Symbol.dispose](),
        };
      });
    } catch (error) {
      watch[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * All ports of an instance that is no more, or was never there: those of its user, by `given` and by Nova's database, are
   * unbound, the others deleted. Each may be done already.
   */
  async release(uuid: string, given: readonly string[], call: CallOptions): Promise<void> {
    await this.#turns.take(uuid, async () => {
      const cached = await this.#cached(uuid, call);
      await this.#allocation.release(uuid, new Set([...given, ...preserved(cached)]));
      if (cached.length > 0) await this.#save(uuid, [], call);
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
      const cached = await this.#cached(uuid, call);
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
        await this.#save(uuid, [...cached, vif], call);
        await plug(request);
        return vif;
      } catch (error) {
        if (!this.#options.signal.aborted) {
          await this.#allocation.release(uuid, given, (id) => !before.has(id));
          await this.#save(uuid, cached, call);
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
      const cached = await this.#cached(uuid, call);
      if (!cached.some(({ id }) => id === portId)) return false;
      await unplug();
      await this.#allocation.release(uuid, new Set(preserved(cached)), (id) => id === portId);
      await this.#save(
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
      const cached = await this.#cached(uuid, call);
      const ports = (await this.#allocation.portsOf(uuid)).filter(({ id }) => id === portId);
      const [fresh] = await this.#describe(ports, new Set(preserved(cached)));
      const vifs = cached.flatMap((vif) => (vif.id === portId ? (fresh ?? []) : [vif]));
      const isNew = fresh && !cached.some(({ id }) => id === portId);
      await this.#save(uuid, isNew ? [...vifs, fresh] : vifs, call);
    });
  }

  /** Of all ports that it has in Nova's database. One that is gone stays: Neutron tells of that. */
  async refreshAll(uuid: string, call: CallOptions): Promise<void> {
    await this.#turns.take(uuid, async () => {
      const cached = await this.#cached(uuid, call);
      if (cached.length === 0) return;
      const known = new Set(cached.map(({ id }) => id));
      const ports = (await this.#allocation.portsOf(uuid)).filter(({ id }) => known.has(id));
      const fresh = await this.#describe(ports, new Set(preserved(cached)));
      const vifs = cached.map((vif) => fresh.find(({ id }) => id === vif.id) ?? vif);
      if (!isDeepStrictEqual(vifs, cached)) await this.#save(uuid, vifs, call);
    });
  }

  /** Whether Nova's database has ports of the instance. */
  async hasAny(uuid: string, call: CallOptions): Promise<boolean> {
    return (await this.#cached(uuid, call)).length > 0;
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

  /** What Nova's database has; nothing of an instance that it does not know. */
  async #cached(uuid: string, call: CallOptions): Promise<readonly CachedVif[]> {
    const { conductor, signal } = this.#options;
    try {
      const cache = await persist(signal, () =>
        conductor.get('InstanceInfoCache', 'get_by_instance_uuid', { args: [uuid] }, call),
      );
      const text = cache.get('network_info');
      return typeof text === 'string' ? (JSON.parse(text) as CachedVif[]) : [];
    } catch (error) {
      if (RemoteError.of(error, 'InstanceInfoCacheNotFound')) return [];
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

  async #save(uuid: string, vifs: readonly CachedVif[], call: CallOptions): Promise<void> {
    const { conductor, signal } = this.#options;
    const fields = { network_info: JSON.stringify(vifs), instance_uuid: uuid };
    try {
      await persist(signal, () => conductor.save(conductor.newObject('InstanceInfoCache', fields), call));
    } catch (error) {
      // Deleted meanwhile.
      const isGone = GONE.some((one) => RemoteError.of(error, one));
      if (!isGone || vifs.length > 0) throw error;
    }
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
