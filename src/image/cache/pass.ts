// One pass of ageing: what is unused for long, or too much, goes. Looks at names and link counts, never at image data.
import { ComputeError } from '../../driver/errors.js';
import { callNative, type NativeDirectoryEntry } from '../../native.js';
import { isDamaged, type Standing } from '../base-lookup.js';
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
  readonly file: NativeDirectoryEntry;
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
    const { paths, lookup, used, telemetry } = this.#context;
    const begin = performance.now();
    this.#check();
    const files = await callNative((addon, id) => addon.readDirectory(paths.bases, 0, id), {
      operation: 'list bases',
    });
    // What has the name of a base and is no file is none of ours.
    const bases = files.filter(({ name, type }) => type === 'file' && isBaseName(name));
    const records = new Map(files.map((file) => [file.name, file]));
    const pinned = await pinnedKeys(paths);
    const { unused, inUse } = await this.#age(bases);
    const sound: Unused[] = [];
    for (const one of unused) {
      const standing = await lookup.match(one.key, one.file, records.get(`${one.key}.json`));
      if (isDamaged(standing)) await this.#moveAway(one.key);
      else if (!pinned.has(one.key)) sound.push(one);
    }
    sound.sort((a, b) => b.ageMs - a.ageMs);
    for (const one of sound.filter(({ ageMs }) => ageMs >= this.#minAgeMs)) await this.#evict(one, 'age');
    await this.#fit(sound);
    // Last: on a full file system there may be room for it by now.
    await this.#write(() => used.touchTogether(inUse));
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

  /** What is used and what is not, and since when; keeps what the last pass alone knew. */
  async #age(
    bases: readonly NativeDirectoryEntry[],
  ): Promise<{ readonly unused: Unused[]; readonly inUse: string[] }> {
    const { used } = this.#context;
    const ages = await used.ages();
    const unused: Unused[] = [];
    const inUse: string[] = [];
    for (const file of bases) {
      const { name: key, links, allocatedBytes } = file;
      this.#bytes += allocatedBytes;
      if (links > 1 || this.#inUse.has(key)) {
        inUse.push(key);
        continue;
      }
      const { ageMs, lasting } = ages.get(key) ?? { ageMs: 0, lasting: false };
      if (!lasting) await this.#write(() => used.keep(key, ageMs));
      unused.push({ key, file, ageMs });
    }
    return { unused, inUse };
  }

  /** A stamp that cannot be written makes a base younger; a pass is what a full file system needs. */
  async #write(stamp: () => Promise<void>): Promise<void> {
    if (this.#options.dryRun) return;
    await stamp().catch((error: unknown) => {
      this.#context.logger.warn('the use of a base could not be written down', { error: String(error) });
    });
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

  /** One whose last instance has gone since it was found damaged, however young. */
  async #moveAway(key: string): Promise<void> {
    if (this.#options.dryRun) return;
    await this.#locked(key, async ({ stat, record }) => {
      if (record && stat.links === 1 && isDamaged({ stat, record })) {
        await condemn(this.#context, key, { stat, record });
        this.#bytes -= stat.allocatedBytes;
      }
    });
  }

  async #evict(unused: Unused, reason: Eviction['reason']): Promise<void> {
    const { key, file } = unused;
    const bytes = file.allocatedBytes;
    const { lookup, logger, telemetry } = this.#context;
    if (this.#options.dryRun) {
      const imageId = (await lookup.find(key))?.record?.imageId;
      this.#gone({ base: key, imageId, reason, bytes });
      return;
    }
    await this.#locked(key, async ({ stat, record }) => {
      if (!(await this.#stillUnused(unused, stat, reason))) return;
      const imageId = record?.imageId;
      await removeBase(this.#context, key);
      this.#gone({ base: key, imageId, reason, bytes });
      logger.info('removed a base that nothing uses', { imageId, base: key, reason, bytes });
      telemetry.count('evictions');
      telemetry.count('evictedBytes', bytes);
      telemetry.publish({ kind: 'evicted', base: key, imageId, reason, bytes });
    });
  }

  /** Never waits: whoever has the lock is using the base. What was true before is to be looked at again. */
  async #locked(key: string, work: (standing: Standing) => Promise<void>): Promise<void> {
    this.#check();
    const { paths, lookup } = this.#context;
    const lock = await tryBaseLock(paths.lock(key));
    if (!lock) return;
    try {
      const standing = await lookup.find(key);
      if (standing) await work(standing);
    } finally {
      await lock.release(0);
    }
  }

  async #stillUnused(
    { key, file, ageMs }: Unused,
    stat: { readonly links: number; readonly inode: number },
    reason: Eviction['reason'],
  ): Promise<boolean> {
    const { paths, used } = this.#context;
    if (stat.links > 1 || stat.inode !== file.inode || (await isPinned(paths, key))) return false;
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
