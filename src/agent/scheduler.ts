// Nova's schedulers: what runs on this host, so that they need not ask. They sync by themselves where a cast is lost.
import { NovaObject } from './nova-object.js';
import type { NovaRelease } from './releases/release.js';
import type { CastOptions, RpcClient } from './rpc-client.js';

/** Each call reaches all schedulers, or none where none runs. Rejections are those of {@link RpcClient.fanout}. */
export class Schedulers {
  readonly #client: RpcClient;
  readonly #release: NovaRelease;

  constructor(client: RpcClient, release: NovaRelease) {
    this.#client = client;
    this.#release = release;
  }

  /** Instances that are new on the host, or have changed. */
  async update(host: string, instances: readonly NovaObject[], options: CastOptions = {}): Promise<void> {
    const list = NovaObject.create({
      name: 'InstanceList',
      version: this.#release.objects['InstanceList']?.[0] ?? '2.6',
      fields: { objects: instances },
    });
    await this.#fanout('update_instance_info', { host_name: host, instance_info: list }, options);
  }

  async remove(host: string, instanceUuid: string, options: CastOptions = {}): Promise<void> {
    await this.#fanout('delete_instance_info', { host_name: host, instance_uuid: instanceUuid }, options);
  }

  /** All that the host has, so that they forget the others. */
  async sync(host: string, instanceUuids: readonly string[], options: CastOptions = {}): Promise<void> {
    await this.#fanout('sync_instance_info', { host_name: host, instance_uuids: instanceUuids }, options);
  }

  #fanout(method: string, args: Readonly<Record<string, unknown>>, options: CastOptions): Promise<void> {
    // The version that brought these methods: also an older scheduler takes them.
    return this.#client.fanout({ topic: 'scheduler', version: '4.2' }, method, args, options);
  }
}
