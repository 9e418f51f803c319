// The numbers behind instance-%08x: never given twice on an instances path, and given without a write most of the time.
import { join } from 'node:path';
import { ComputeError } from '../driver/errors.js';
import { MAX_INSTANCE_ID } from '../driver/identity.js';
import type { NodeFiles } from './node-files.js';

/** Reserved by one write: a warm launch finds a number in memory. A restart skips what is left of a block. */
const BLOCK = 64;
/** The next block is reserved in the background when this many are left. */
const LOW_WATER = 16;

export class InstanceIds {
  readonly #files: NodeFiles;
  readonly #path: string;
  #next: number;
  /** First number that is not reserved. */
  #end: number;
  #reserving: Promise<void> | undefined;

  private constructor(files: NodeFiles, path: string, next: number) {
    this.#files = files;
    this.#path = path;
    this.#next = next;
    this.#end = next;
  }

  /** @param used Numbers of instances that stand: where the file was lost, theirs are not given again. */
  static async open(files: NodeFiles, used: Iterable<number>): Promise<InstanceIds> {
    const path = join(files.instancesPath, 'sequence');
    const stored = Number.parseInt((await files.read(path)) ?? '1', 10);
    let next = Number.isSafeInteger(stored) && stored > 0 ? stored : 1;
    for (const id of used) next = Math.max(next, id + 1);
    const ids = new InstanceIds(files, path, next);
    await ids.#reserve();
    return ids;
  }

  async next(): Promise<number> {
    while (this.#next >= this.#end) await this.#reserve();
    const id = this.#next;
    this.#next += 1;
    if (this.#end - this.#next === LOW_WATER) {
      // A failure shows when the block is used up and the next caller reserves anew.
      void this.#reserve().catch(() => undefined);
    }
    return id;
  }

  /** One reservation at a time, shared by all who need it. */
  #reserve(): Promise<void> {
    this.#reserving ??= this.#extend().finally(() => {
      this.#reserving = undefined;
    });
    return this.#reserving;
  }

  async #extend(): Promise<void> {
    const end = this.#end + BLOCK;
    if (end > MAX_INSTANCE_ID) {
      throw new ComputeError('INTERNAL', `the instance numbers of ${this.#files.instancesPath} are used up`);
    }
    // On the disk before a number of the block is used: given again after a loss of power, it would name two domains.
    await this.#files.write(this.#path, `${end}\n`, 'replace', true);
    this.#end = end;
  }
}
