// What every command and question of a compute host works with.
import { ComputeError } from '../driver/errors.js';
import type { ComputeNode } from '../node/compute-node.js';
import type { ImageDirectory } from '../node/image-directory.js';
import type { Logger } from '../node/types.js';
import type { PlacementApi } from '../resources/placement/placement-api.js';
import type { InstanceVolumes } from './cinder/instance-volumes.js';
import type { Conductor } from './conductor.js';
import type { InstanceNetworks } from './neutron/instance-networks.js';
import type { NovaRelease } from './releases/release.js';
import type { RpcClient } from './rpc-client.js';
import type { Schedulers } from './scheduler.js';

export interface ComputeHost {
  /** The name of the host in Nova, and of its queue. */
  readonly name: string;
  /** Nova's node: the hypervisor's name of the host. */
  readonly nodeName: string;
  /** Of the ComputeNode record and of the provider in Placement. */
  readonly nodeUuid: string;
  readonly node: ComputeNode;
  readonly conductor: Conductor;
  readonly schedulers: Schedulers;
  readonly client: RpcClient;
  readonly release: NovaRelease;
  readonly placement: PlacementApi;
  readonly images: ImageDirectory;
  /** Undefined: it has no Neutron. */
  readonly networks: InstanceNetworks | undefined;
  /** Users are given consoles of its guests. */
  readonly hasConsoles: boolean;
  /** Undefined: it has no Cinder. */
  readonly volumes: InstanceVolumes | undefined;
  readonly log: Logger;
  /** Milliseconds that a guest is given to shut itself down. */
  readonly shutdownTimeoutMs: number;
  /** Milliseconds that a command waits for a hypervisor or a Glance that is away. */
  readonly outageTimeoutMs: number;
  /** Fires when commands have to end: what they have not finished is done again at the next start. */
  readonly signal: AbortSignal;
  /** Instances on which a command is at work. */
  readonly busy: Busy;
}

/** Whether the node has that instance. Rejects as `ComputeNode.get`. */
export async function stands({ node, signal }: ComputeHost, uuid: string): Promise<boolean> {
  try {
    await node.get(uuid, { signal });
    return true;
  } catch (error) {
    if (ComputeError.is(error) && error.code === 'INSTANCE_NOT_FOUND') return false;
    throw error;
  }
}

/** How many commands are at work on each instance. */
export class Busy {
  readonly #counts = new Map<string, number>();

  has(uuid: string): boolean {
    return this.#counts.has(uuid);
  }

  async during<T>(uuid: string, work: () => Promise<T>): Promise<T> {
    this.#add(uuid, 1);
    try {
      return await work();
    } finally {
      this.#add(uuid, -1);
    }
  }

  #add(uuid: string, more: number): void {
    const count = (this.#counts.get(uuid) ?? 0) + more;
    if (count > 0) this.#counts.set(uuid, count);
    else this.#counts.delete(uuid);
  }
}
