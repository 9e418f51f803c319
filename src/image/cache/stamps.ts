// When something last happened to each base: one small file a base, shared by all processes.
import { join } from 'node:path';
import * as v from 'valibot';
import { ComputeError } from '../../driver/errors.js';
import { callNative } from '../../native.js';
import { type CacheClock, elapsedMs, type Moment } from './clock.js';

const STAMP_BYTES = 1024;
const ENOENT = 2;

interface Stamp extends Moment {
  /** How long ago it was already when this was written. */
  readonly ageMs: number;
}

const milliseconds = v.pipe(v.number(), v.finite());
const stampSchema: v.GenericSchema<unknown, Stamp> = v.object({
  boot: v.string(),
  monotonicMs: milliseconds,
  wallMs: milliseconds,
  ageMs: v.pipe(milliseconds, v.minValue(0)),
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
    await this.#write(key, 0, await this.#clock.now());
  }

  /** How long ago it happened; undefined where it never did, or nobody wrote it down. */
  async ageMs(key: string): Promise<number | undefined> {
    return (await this.#read(key))?.ageMs;
  }

  /** As {@link ageMs}, and keeps what only the wall clock told; `ifNone` is the age of what has no stamp. */
  async keep(key: string, ifNone: 0 | undefined): Promise<number | undefined> {
    const found = await this.#read(key);
    const ageMs = found?.ageMs ?? ifNone;
    if (ageMs !== undefined && !found?.sameBoot) await this.#write(key, ageMs, await this.#clock.now());
    return ageMs;
  }

  async remove(key: string): Promise<void> {
    await callNative((addon, id) => addon.removeTree(this.#path(key), id), { operation: 'remove a stamp' });
  }

  async #read(key: string): Promise<{ readonly ageMs: number; readonly sameBoot: boolean } | undefined> {
    const stamp = await readStamp(this.#path(key));
    if (!stamp) return undefined;
    const now = await this.#clock.now();
    return { ageMs: stamp.ageMs + elapsedMs(stamp, now), sameBoot: stamp.boot === now.boot };
  }

  async #write(key: string, ageMs: number, now: Moment): Promise<void> {
    const stamp: Stamp = { ...now, ageMs };
    const options = { how: 'replace', mode: 0o600, sync: false } as const;
    await callNative(
      (addon, id) => addon.writeFile(this.#path(key), `${JSON.stringify(stamp)}\n`, options, id),
      { operation: 'write a stamp' },
    );
  }

  #path(key: string): string {
    return join(this.#directory, key);
  }
}

/** undefined where there is none that can be understood. */
async function readStamp(path: string): Promise<Stamp | undefined> {
  try {
    const bytes = await callNative((addon, id) => addon.readFile(path, STAMP_BYTES, id), {
      operation: 'read a stamp',
    });
    return v.parse(stampSchema, JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    if (!ComputeError.is(error) || error.details['errno'] === ENOENT) return undefined;
    throw error;
  }
}
