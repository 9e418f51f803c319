// The image cache of a fake host: which images are there, one fetch at a time for each, and what is counted of it.
import type { CacheOutcome } from '../driver/compute-driver.js';
import { type ImageCacheEvent, type ImageCacheMetrics, NO_METRICS } from '../driver/image-cache.js';
import type { ImageMeta } from '../driver/model.js';
import type { FakeCall } from './fake-call.js';
import type { FakeHypervisor } from './fake-hypervisor.js';

const COUNTER = { hit: 'hits', fetched: 'misses', joined: 'joins' } as const;

export class FakeImageCache {
  readonly #hypervisor: FakeHypervisor;
  readonly #fetchMs: number;
  readonly #publish: (event: ImageCacheEvent) => void;
  #metrics: ImageCacheMetrics = NO_METRICS;

  constructor(hypervisor: FakeHypervisor, fetchMs: number, publish: (event: ImageCacheEvent) => void) {
    this.#hypervisor = hypervisor;
    this.#fetchMs = fetchMs;
    this.#publish = publish;
  }

  get metrics(): ImageCacheMetrics {
    return { ...this.#metrics, fetching: this.#hypervisor.fetches.size };
  }

  /** One fetch for all who want the image at the same time. Who waits for another's fetch may leave without ending it. */
  async provide(
    image: ImageMeta,
    call: FakeCall,
    onProgress: (progress: { readonly activity: string }) => void,
  ): Promise<CacheOutcome> {
    const outcome = await this.#provide(image, call, onProgress);
    this.#count(COUNTER[outcome]);
    return outcome;
  }

  /** A pass: images age at once here, as there is no clock. Those of instances and of `inUse` stay. */
  prune(inUse: readonly string[]): void {
    const { domains, images, rescued } = this.#hypervisor;
    const begin = performance.now();
    const standing = [...domains.values()].map(({ instance }) => instance.image.id);
    const used = new Set([...inUse, ...standing, ...rescued.values()]);
    const unused = [...images].filter((id) => !used.has(id));
    for (const imageId of unused) {
      this.#hypervisor.removeImage(imageId);
      this.#count('evictions');
      this.#publish({ kind: 'evicted', base: imageId, imageId, reason: 'age', bytes: 0 });
    }
    this.#count('passes');
    this.#publish({
      kind: 'pass',
      bases: images.size,
      inUse: images.size,
      evicted: unused.length,
      freedBytes: 0,
      milliseconds: performance.now() - begin,
    });
  }

  async #provide(
    { id }: ImageMeta,
    call: FakeCall,
    onProgress: (progress: { readonly activity: string }) => void,
  ): Promise<CacheOutcome> {
    const hypervisor = this.#hypervisor;
    if (hypervisor.images.has(id)) return 'hit';
    onProgress({ activity: 'downloading' });
    const running = hypervisor.fetches.get(id);
    if (running !== undefined) {
      await call.deadline.race(running);
      return 'joined';
    }
    const begin = performance.now();
    const fetch = new Promise<void>((resolve) => {
      setTimeout(resolve, this.#fetchMs);
    }).then(() => {
      hypervisor.fetches.delete(id);
      hypervisor.addImage(id);
      const milliseconds = performance.now() - begin;
      this.#publish({ kind: 'fetched', imageId: id, bytes: 0, virtualSizeBytes: 0, milliseconds });
    });
    hypervisor.fetches.set(id, fetch);
    await call.deadline.race(fetch);
    return 'fetched';
  }

  #count(counter: 'hits' | 'misses' | 'joins' | 'passes' | 'evictions'): void {
    this.#metrics = { ...this.#metrics, [counter]: this.#metrics[counter] + 1 };
  }
}
