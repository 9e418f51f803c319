// The disks that an instance had before a resize, kept beside the new ones until it is confirmed or reverted.
import type { DiskName } from '../image/types.js';
import { callNative, changeFiles } from '../native.js';
import type { DiskChange } from './disk-changes.js';
import type { CallContext } from './hypervisor.js';
import { DISK_NAMES, type InstanceDisks } from './instance-disks.js';
import type { InstanceFiles } from './instance-files.js';

/*
 * `resize.info` stands from before the first effect of a resize to after its last, and holds what disk.info held.
 * `<disk>.resize` is the old disk itself: at first one more name of it, until another file takes the first name. So it is
 * never written to again, costs nothing, and a rename brings it back. Each step can be repeated: a process may die after
 * any of them.
 */

export class KeptDisks {
  readonly #files: InstanceFiles;

  constructor(files: InstanceFiles) {
    this.#files = files;
  }

  /** Where the old disk stands. */
  path(name: DiskName): string {
    return `${this.#files.disk(name)}.resize`;
  }

  /** Where the new one is made before it takes the name. */
  fresh(name: DiskName): string {
    return `${this.#files.disk(name)}.new`;
  }

  async begin(disks: InstanceDisks, context: CallContext): Promise<void> {
    await this.#files.writeKept(disks, context);
  }

  /** What the instance had; undefined where no resize is under way. */
  async read(context: CallContext): Promise<InstanceDisks | undefined> {
    return await this.#files.readKept(context);
  }

  /** One more name for a disk that will change, and for the hold on its base where its own will go. */
  async keep({ name, how }: DiskChange, context: CallContext): Promise<void> {
    const path = this.#files.disk(name);
    if (!(await this.#exists(path, context))) return;
    await this.#link(path, this.path(name), context);
    const hold = `${path}.base`;
    if (how !== 'grow' && (await this.#exists(hold, context))) {
      await this.#link(hold, `${this.path(name)}.base`, context);
    }
  }

  /** The file that was made under {@link fresh} takes the name of the disk. */
  async adopt(name: DiskName, context: CallContext): Promise<void> {
    await this.#rename(this.fresh(name), this.#files.disk(name), context);
  }

  /** Takes the name from a disk that was kept. */
  async drop(name: DiskName, context: CallContext): Promise<void> {
    await this.#removeDisk(this.#files.disk(name), context);
  }

  /** What was kept has its name again, what came with the resize goes. */
  async restore(disks: InstanceDisks, context: CallContext): Promise<void> {
    for (const name of DISK_NAMES) {
      const [path, kept] = [this.#files.disk(name), this.path(name)];
      if (await this.#exists(kept, context)) {
        await this.#takeBack(`${kept}.base`, `${path}.base`, context);
        await this.#takeBack(kept, path, context);
      } else if (disks[name] === undefined) await this.#removeDisk(path, context);
      await this.#remove(this.fresh(name), context);
    }
    await this.#files.writeDisks(disks, context);
  }

  /** Removes what was kept; the disks stay as they are. */
  async forget(context: CallContext): Promise<void> {
    for (const name of DISK_NAMES) {
      await this.#removeDisk(this.path(name), context);
      await this.#remove(this.fresh(name), context);
    }
    await this.end(context);
  }

  async end(context: CallContext): Promise<void> {
    await this.#files.removeKept(context);
  }

  async #takeBack(kept: string, path: string, context: CallContext): Promise<void> {
    if (!(await this.#exists(kept, context))) return;
    await this.#rename(kept, path, context);
    // Renaming one name of a file to another does nothing.
    await this.#remove(kept, context);
  }

  async #removeDisk(path: string, context: CallContext): Promise<void> {
    await this.#remove(path, context);
    await this.#remove(`${path}.base`, context);
  }

  async #exists(path: string, context: CallContext): Promise<boolean> {
    return (await callNative((addon, id) => addon.statFile(path, id), context)) !== undefined;
  }

  async #link(source: string, target: string, context: CallContext): Promise<void> {
    await changeFiles((addon, id) => addon.linkFile(source, target, id), context);
  }

  async #rename(source: string, target: string, context: CallContext): Promise<void> {
    await changeFiles((addon, id) => addon.publishFile(source, target, true, id), context);
  }

  async #remove(path: string, context: CallContext): Promise<void> {
    await changeFiles((addon, id) => addon.removeTree(path, id), context);
  }
}
