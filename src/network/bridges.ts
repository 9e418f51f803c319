// Bridges on demand: made for their first user, removed after the last one if they were ours.
import { ComputeError } from '../driver/errors.js';
import { BRIDGE_ALIAS, hostLinks, type Links } from './links.js';
import { checkBridgeName, checkMtu } from './names.js';
import { plugUplink, type Uplink, unplugUplink, uplinkPort } from './uplink.js';

export interface AcquireBridgeOptions {
  /** Who uses it: the id of the port. Acquiring twice under one name counts once, so that undo steps may run twice. */
  readonly user: string;
  /** For a bridge that has to be made; default the kernel's 1500. */
  readonly mtu?: number | undefined;
  /** What it reaches; the same for all users of one bridge. Default nothing: its ports reach each other. */
  readonly uplink?: Uplink | undefined;
  /** The call rejects with `ABORTED` at once; a bridge that was made for it alone goes again. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Who uses which bridge in this process. Calls for one bridge run one after another, those for several side by side.
 * A bridge is known as ours by its link alias, so also after a restart; a foreign one, and one with ports, is never
 * removed. Between processes nothing is counted: two nodes on one host should each have a bridge of their own.
 */
export class Bridges {
  readonly #links: Links;
  readonly #users = new Map<string, Set<string>>();
  /** Of the bridges with users. */
  readonly #uplinks = new Map<string, Uplink>();
  /** Tail of the queue of each bridge; never rejects. */
  readonly #tails = new Map<string, Promise<void>>();

  constructor(links: Links = hostLinks) {
    this.#links = links;
  }

  /**
   * Makes sure that the bridge is there and up, and keeps it until `user` releases it; call it again before each start
   * of an instance, whose bridge may be gone since it was stopped. True when it was made. Rejects with `NETWORK_FAILED`
   * (the name is another kind of link, the interface has addresses, no permission ...), `INVALID_ARGUMENT`, `ABORTED`, `TIMEOUT` (30 s).
   */
  async acquire(bridge: string, options: AcquireBridgeOptions): Promise<boolean> {
    const { user, mtu = 0, uplink, signal } = options;
    checkBridgeName(bridge);
    checkMtu(mtu);
    if (uplink) uplinkPort(uplink);
    if (signal?.aborted) throw aborted(bridge, signal);
    const work = this.#enqueue(bridge, async () => {
      if (signal?.aborted) throw aborted(bridge, signal);
      const before = this.#users.get(bridge)?.has(user) ?? false;
      this.#join(bridge, user);
      try {
        const made = await this.#links.ensureBridge(bridge, mtu);
        if (uplink) await this.#plugUplink(bridge, uplink, mtu);
        if (signal?.aborted) throw aborted(bridge, signal);
        return made;
      } catch (error) {
        if (!before) await this.#leave(bridge, user, uplink).catch(() => false);
        throw error;
      }
    });
    return await untilAborted(work, bridge, signal);
  }

  /**
   * Lets go. True when the bridge was removed: ours, without users and without ports. Idempotent, also for a user that
   * never acquired it (an instance from before a restart), whose `uplink` is then to be given. Rejects with `NETWORK_FAILED`; the user is gone even so.
   */
  async release(bridge: string, user: string, uplink?: Uplink): Promise<boolean> {
    checkBridgeName(bridge);
    return await this.#enqueue(bridge, () => this.#leave(bridge, user, uplink));
  }

  /** Users of the bridge in this process. */
  users(bridge: string): string[] {
    return [...(this.#users.get(bridge) ?? [])];
  }

  #join(bridge: string, user: string): void {
    const users = this.#users.get(bridge) ?? new Set();
    this.#users.set(bridge, users.add(user));
  }

  async #plugUplink(bridge: string, uplink: Uplink, mtu: number): Promise<void> {
    const port = uplinkPort(uplink);
    const other = this.#uplinks.get(bridge);
    if (other && uplinkPort(other) !== port) {
      throw new ComputeError(
        'NETWORK_FAILED',
        `the bridge ${bridge} reaches ${uplinkPort(other)}, and ${port} as well would join two networks; give each a bridge of its own`,
        { operation: 'acquire', details: { bridge, link: port } },
      );
    }
    await plugUplink(this.#links, bridge, uplink, mtu);
    this.#uplinks.set(bridge, uplink);
  }

  async #leave(bridge: string, user: string, given: Uplink | undefined): Promise<boolean> {
    const users = this.#users.get(bridge);
    users?.delete(user);
    if (users && users.size > 0) return false;
    const uplink = this.#uplinks.get(bridge) ?? given;
    this.#users.delete(bridge);
    this.#uplinks.delete(bridge);
    const link = await this.#links.getLink(bridge);
    if (link?.kind !== 'bridge' || link.alias !== BRIDGE_ALIAS) return false;
    if (uplink && !(await unplugUplink(this.#links, bridge, uplink))) return false;
    return await this.#links.removeBridge(bridge);
  }

  #enqueue<T>(bridge: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#tails.get(bridge) ?? Promise.resolve()).then(work);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(bridge, tail);
    void tail.then(() => {
      if (this.#tails.get(bridge) === tail) this.#tails.delete(bridge);
    });
    return result;
  }
}

/** The result of the work, or a rejection at once when the signal fires; the work then ends and tidies up by itself. */
async function untilAborted<T>(
  work: Promise<T>,
  bridge: string,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (!signal) return await work;
  let onAbort = (): void => {};
  const abort = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(aborted(bridge, signal));
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, abort]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function aborted(bridge: string, signal: AbortSignal): ComputeError {
  return new ComputeError('ABORTED', `waiting for the bridge ${bridge} was aborted`, {
    operation: 'acquire',
    cause: signal.reason,
    details: { bridge },
  });
}
