// One pass of ageing: what is unused for long, or too much, goes. Looks at names and link counts, never at image data.
import { ComputeError } from '../../driver/errors.js';
import { callNative, type NativeDirectoryEntry } from '../../native.js';
import { isDamaged } from '../base-lookup.js';
import { tryBaseLock } from '../cache-lock.js';
import { imageKey, isBaseName } from '../cache-paths.js';
import type { CacheContext } from './context.js';
import { condemn, removeBase } from './damage.js';
import { isPinned, pinnedKeys } from './pins.js';
import { listQuarantine, removeQuarantined } from './quarantine.js';

export interface PruneOptions {
  /** Default that of the cache. */
  readonly minAgeMs?: number | undefined;
  readonly maxBytes?: number | undefined;
  /** Tells what would go, and changes nothing. Default false. */
  readonly dryRun?: boolean | undefined;
  /** Ids of images that count as used now, beside those that instances hold. */
  readonly inUse?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Eviction {
  /** Name of the base in `_base`. */
  readonly base: string;
  /** undefined where the base has no record. */
  readonly imageId: string | undefined;
  readonly reason: 'age' | 'bytes';
  /** That it took on the disk. */
  readonly bytes: number;
}

export interface PruneResult {
  readonly bases: number;
  readonly inUse: number;
  /** That bases and quarantine take on the disk, after the pass. */
  readonly bytes: number;
  readonly evicted: readonly Eviction[];
}

interface Unused {
  readonly key: string;
  readonly inode: number;
  readonly bytes: number;
  readonly ageMs: number;
}

/** Two at a time do no harm, in one process or in several. Rejects with SYSTEM, ABORTED. */
export async function prune(context: CacheContext, options: PruneOptions): Promise<PruneResult> {
  return await new Pass(context, options).run();
}

class Pass {
  readonly #context: CacheContext;
  readonly #options: PruneOptions;
  readonly #minAgeMs: number;
  readonly #inUse: ReadonlySet<string>;
  readonly #evicted: Eviction[] = [];
  #bytes = 0;

  constructor(context: CacheContext, options: PruneOptions) {
    this.#context = context;
    this.#options = options;
    this.#minAgeMs = options.minAgeMs ?? context.ageing.minAgeMs;
    this.#inUse = new Set((options.inUse ?? []).map(imageKey));
  }

  async run(): Promise<PruneResult> {
    const { paths, telemetry } = this.#context;
    const begin = performance.now();
    this.#check();
    const files = await callNative((addon, id) => addon.readDirectory(paths.bases, 0, id), {
      operation: 'list bases',
    });
    // What has the name of a base and is no file is none of ours.
    const bases = files.filter(({ name, type }) => type === 'file' && isBaseName(name));
    const pinned = await pinnedKeys(paths);
    const unused = (await this.#age(bases)).sort((a, b) => b.ageMs - a.ageMs);
    const free = unused.filter(({ key }) => !pinned.has(key));
    for (const one of free.filter(({ ageMs }) => ageMs >= this.#minAgeMs)) await this.#evict(one, 'age');
    await this.#fit(free);
    const result = {
      bases: bases.length - this.#evicted.length,
      inUse: bases.length - unused.length,
      bytes: this.#bytes,
      evicted: this.#evicted,
    };
    if (this.#options.dryRun) return result;
    telemetry.count('passes');
    telemetry.publish({
      kind: 'pass',
      bases: result.bases,
      inUse: result.inUse,
      evicted: this.#evicted.length,
      freedBytes: this.#evicted.reduce((sum, { bytes }) => sum + bytes, 0),
      milliseconds: performance.now() - begin,
    });
    return result;
  }

  /** Gives what is not in use, and writes down what is: its age begins when the last instance has gone. */
  async #age(bases: readonly NativeDirectoryEntry[]): Promise<Unused[]> {
    const { used } = this.#context;
    const { dryRun } = this.#options;
    const ages = await used.ages();
    const unused: Unused[] = [];
    const inUse: string[] = [];
    for (const { name: key, links, inode, allocatedBytes } of bases) {
      this.#bytes += allocatedBytes;
      if (links > 1 || this.#inUse.has(key)) {
        inUse.push(key);
        continue;
      }
      const { ageMs, lasting } = ages.get(key) ?? { ageMs: 0, lasting: false };
      if (!lasting && !dryRun) await used.keep(key, ageMs);
      unused.push({ key, inode, bytes: allocatedBytes, ageMs });
    }
    if (!dryRun) await used.touchTogether(inUse);
    return unused;
  }

  /** The quarantine first, then what was not used for longest. */
  async #fit(unused: readonly Unused[]): Promise<void> {
    const { paths, ageing } = this.#context;
    const maxBytes = this.#options.maxBytes ?? ageing.maxBytes ?? Number.POSITIVE_INFINITY;
    const quarantined = await listQuarantine(paths);
    for (const { allocatedBytes } of quarantined) this.#bytes += allocatedBytes;
    for (const entry of quarantined) {
      if (this.#bytes <= maxBytes) return;
      if (!this.#options.dryRun) await removeQuarantined(entry);
      this.#bytes -= entry.allocatedBytes;
    }
    const gone = new Set(this.#evicted.map(({ base }) => base));
    for (const one of unused) {
      if (this.#bytes <= maxBytes) return;
      if (!gone.has(one.key)) await this.#evict(one, 'bytes');
    }
  }

  /** Never waits: whoever has the lock is using the base. What was true before is looked at again under it. */
  async #evict(unused: Unused, reason: Eviction['reason']): Promise<void> {
    this.#check();
    const { key, bytes } = unused;
    const { paths, lookup, logger, telemetry } = this.#context;
    if (this.#options.dryRun) {
      const imageId = (await lookup.find(key))?.record?.imageId;
      this.#gone({ base: key, imageId, reason, bytes });
      return;
    }
    const lock = await tryBaseLock(paths.lock(key));
    if (!lock) return;
    try {
      const standing = await lookup.find(key);
      if (!standing || !(await this.#stillUnused(unused, standing.stat, reason))) return;
      const { stat, record } = standing;
      const imageId = record?.imageId;
      if (record && isDamaged(standing)) {
        await condemn(this.#context, key, { stat, record });
        return;
      }
      await removeBase(this.#context, key);
      this.#gone({ base: key, imageId, reason, bytes });
      logger.info('removed a base that nothing uses', { imageId, base: key, reason, bytes });
      telemetry.count('evictions');
      telemetry.count('evictedBytes', bytes);
      telemetry.publish({ kind: 'evicted', base: key, imageId, reason, bytes });
    } finally {
      await lock.release(0);
    }
  }

  async #stillUnused(
    { key, inode, ageMs }: Unused,
    stat: { readonly links: number; readonly inode: number },
    reason: Eviction['reason'],
  ): Promise<boolean> {
    const { paths, used } = this.#context;
    if (stat.links > 1 || stat.inode !== inode || (await isPinned(paths, key))) return false;
    const now = (await used.ageMs(key)) ?? 0;
    // Younger than before: it was used since. The next pass orders it anew.
    return now >= (reason === 'age' ? this.#minAgeMs : ageMs);
  }

  #gone(eviction: Eviction): void {
    this.#evicted.push(eviction);
    this.#bytes -= eviction.bytes;
  }

  #check(): void {
    const { signal } = this.#options;
    if (signal?.aborted) throw new ComputeError('ABORTED', 'the pass was aborted', { cause: signal.reason });
  }
}
