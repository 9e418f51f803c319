// Nova's info cache of an instance, in its database: read, and written, by way of a conductor.
import type { Conductor } from '../conductor.js';
import { RemoteError } from '../errors.js';
import { persist } from '../persist.js';
import type { CallOptions } from '../rpc-client.js';
import type { CachedVif } from './network-info.js';

/** Of an instance that is no more. */
const GONE: readonly string[] = ['InstanceNotFound', 'InstanceInfoCacheNotFound'];

/** While a conductor is away it waits for one. */
export class InfoCache {
  readonly #conductor: Conductor;
  readonly #signal: AbortSignal;

  constructor(conductor: Conductor, signal: AbortSignal) {
    this.#conductor = conductor;
    this.#signal = signal;
  }

  /** Nothing of an instance that Nova does not know. */
  async read(uuid: string, call: CallOptions): Promise<readonly CachedVif[]> {
    try {
      const cache = await persist(this.#signal, () =>
        this.#conductor.get('InstanceInfoCache', 'get_by_instance_uuid', { args: [uuid] }, call),
      );
      const text = cache.get('network_info');
      return typeof text === 'string' ? (JSON.parse(text) as CachedVif[]) : [];
    } catch (error) {
      if (RemoteError.of(error, 'InstanceInfoCacheNotFound')) return [];
      throw error;
    }
  }

  /** Nothing is written of an instance that is deleted meanwhile; where there is something to write, it rejects. */
  async save(uuid: string, vifs: readonly CachedVif[], call: CallOptions): Promise<void> {
    const fields = { network_info: JSON.stringify(vifs), instance_uuid: uuid };
    try {
      await persist(this.#signal, () =>
        this.#conductor.save(this.#conductor.newObject('InstanceInfoCache', fields), call),
      );
    } catch (error) {
      const isGone = GONE.some((one) => RemoteError.of(error, one));
      if (!isGone || vifs.length > 0) throw error;
    }
  }
}
