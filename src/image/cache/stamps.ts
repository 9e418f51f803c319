// When something last happened to each base: one small file a base, shared by all processes.
import { join } from 'node:path';
import * as v from 'valibot';
import { ComputeError } from '../../driver/errors.js';
import { callNative } from '../../native.js';
import { type CacheClock, elapsedMs, type Moment } from './clock.js';

const MOST_BYTES = 4 * 1024 * 1024;
const ENOENT = 2;
/** Holds one stamp for many bases. */
export const TOGETHER = '.together';

interface Stamp extends Moment {
  /** How long ago it was already when this was written. */
  readonly ageMs: number;
  /** Of the one for many: their keys. */
  readonly keys?: readonly string[] | undefined;
}

export interface Age {
  readonly ageMs: number;
  /** It is in a stamp of the base's own, of this boot: nothing will take it away. */
  readonly lasting: boolean;
}

const milliseconds = v.pipe(v.number(), v.finite());
const stampSchema: v.GenericSchema<unknown, Stamp> = v.object({
  boot: v.string(),
  monotonicMs: milliseconds,
  wallMs: milliseconds,
  ageMs: v.pipe(milliseconds, v.minValue(0)),
  keys: v.optional(v.array(v.string())),
});

/**
 * A stamp is written when it happens, and again with its age so far by the first pass after a reboot: so an age is made
 * of time that some pass has seen. Not synced: what a loss of power takes away makes a base younger.
 */
export class Stamps {
  readonly #directory: string;
  readonly #clock: CacheClock;

  constructor(directory: string, clock: CacheClock) {
    this.#directory = directory;
    this.#clock = clock;
  }

  /** It happens now. */
  async touch(key: string): Promise<void> {
    await this.keep(key, 0);
  }

  /** It happens now to all of these, and to no other of those of the last time: {@link keep} their ages first. */
  async touchTogether(keys: readonly string[]): Promise<void> {
    await this.#write(TOGETHER, { ...(await this.#clock.now()), ageMs: 0, keys });
  }

  /** It happened so long ago. */
  async keep(key: string, ageMs: number): Promise<void> {
    await this.#write(key, { ...(await this.#clock.now()), ageMs });
  }

  /** How long ago it happened; undefined where it never did, or nobody wrote it down. */
  async ageMs(key: string): Promise<number | undefined> {
    const files = [];
    for (const name of [key, TOGETHER]) files.push({ name, content: await this.#read(name) });
    return agesOf(files, await this.#clock.now()).get(key)?.ageMs;
  }

  /** Of all bases, by two questions to the file system. */
  async ages(): Promise<ReadonlyMap<string, Age>> {
    const files = await callNative((addon, id) => addon.readDirectory(this.#directory, MOST_BYTES, id), {
      operation: 'read stamps',
    });
    return agesOf(files, await this.#clock.now());
  }

  async remove(key: string): Promise<void> {
    await callNative((addon, id) => addon.removeTree(join(this.#directory, key), id), {
      operation: 'remove a stamp',
    });
  }

  async #read(name: string): Promise<string> {
    try {
      const bytes = await callNative(
        (addon, id) => addon.readFile(join(this.#directory, name), MOST_BYTES, id),
        { operation: 'read a stamp' },
      );
      return bytes.toString('utf8');
    } catch (error) {
      if (ComputeError.is(error) && error.details['errno'] === ENOENT) return '';
      throw error;
    }
  }

  async #write(name: string, stamp: Stamp): Promise<void> {
    const options = { how: 'replace', mode: 0o600, sync: false } as const;
    await callNative(
      (addon, id) => addon.writeFile(join(this.#directory, name), `${JSON.stringify(stamp)}\n`, options, id),
      { operation: 'write a stamp' },
    );
  }
}

/** What cannot be understood counts for nothing. */
function agesOf(
  files: readonly { readonly name: string; readonly content: string }[],
  now: Moment,
): Map<string, Age> {
  const ages = new Map<string, Age>();
  const together: (readonly [readonly string[], number])[] = [];
  for (const { name, content } of files) {
    const stamp = parseStamp(content);
    if (!stamp) continue;
    const ageMs = stamp.ageMs + elapsedMs(stamp, now);
    if (name === TOGETHER) together.push([stamp.keys ?? [], ageMs]);
    else ages.set(name, { ageMs, lasting: stamp.boot === now.boot });
  }
  for (const [keys, ageMs] of together) {
    for (const key of keys) {
      if ((ages.get(key)?.ageMs ?? Number.POSITIVE_INFINITY) > ageMs)
        ages.set(key, { ageMs, lasting: false });
    }
  }
  return ages;
}

function parseStamp(content: string): Stamp | undefined {
  if (content === '') return undefined;
  try {
    return v.parse(stampSchema, JSON.parse(content));
  } catch {
    return undefined;
  }
}
