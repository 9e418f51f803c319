// The files of a rebuild: made beside those that stand, as `disk.rebuild` and the like, then put in their place.
import { callNative, changeFiles } from '../native.js';
import type { CallContext } from './hypervisor.js';
import { DISK_NAMES, formatDisks, type InstanceDisks, parseDisks } from './instance-disks.js';
import type { InstanceFiles } from './instance-files.js';

const SUFFIX = '.rebuild';

export class RebuildFiles {
  readonly #files: InstanceFiles;

  constructor(files: InstanceFiles) {
    this.#files = files;
  }

  async writeConfigDrive(image: Uint8Array, context: CallContext): Promise<void> {
    await this.#write(this.#files.configDrive, image, context);
  }

  /** The last of them to be written: with it they are complete. */
  async writeDisks(disks: InstanceDisks, context: CallContext): Promise<void> {
    await this.#write(this.#files.diskInfo, formatDisks(disks), context);
  }

  async complete(context: CallContext): Promise<boolean> {
    return await this.#stands(this.#files.diskInfo + SUFFIX, context);
  }

  /**
   * Puts them in place of the old ones while nobody has those open. May run again from any point: disk.info is the last to
   * take its place. A base is held at every moment by one of the two links.
   */
  async adopt(context: CallContext): Promise<void> {
    const { diskInfo, configDrive, nvram } = this.#files;
    const path = diskInfo + SUFFIX;
    if (!(await this.#stands(path, context))) return;
    const text = await callNative((addon, id) => addon.readFile(path, 1 << 20, id), context);
    const disks = parseDisks(text.toString('utf8'), path);
    for (const name of DISK_NAMES) {
      const disk = this.#files.disk(name);
      await this.#move(disk, context);
      if (disks[name]?.base) await this.#move(`${disk}.base`, context);
      else await this.#remove(`${disk}.base`, context);
    }
    await this.#move(configDrive, context);
    // The variables of another system's firmware; libvirt makes new ones.
    await this.#remove(nvram, context);
    await this.#move(diskInfo, context);
  }

  /** Idempotent. The mark of completeness goes first. */
  async remove(context: CallContext): Promise<void> {
    const { diskInfo, configDrive } = this.#files;
    await this.#remove(diskInfo + SUFFIX, context);
    for (const name of DISK_NAMES) {
      await this.#remove(this.#files.disk(name) + SUFFIX, context);
      await this.#remove(`${this.#files.disk(name)}${SUFFIX}.base`, context);
    }
    await this.#remove(configDrive + SUFFIX, context);
  }

  async #move(target: string, context: CallContext): Promise<void> {
    const source = target.endsWith('.base')
      ? `${target.slice(0, -'.base'.length)}${SUFFIX}.base`
      : target + SUFFIX;
    if (!(await this.#stands(source, context))) return;
    await changeFiles((addon, id) => addon.publishFile(source, target, false, id), context);
    // Where both are links to one base, as in a rebuild from the same image, rename(2) leaves both.
    await this.#remove(source, context);
  }

  async #stands(path: string, context: CallContext): Promise<boolean> {
    return (await callNative((addon, id) => addon.statFile(path, id), context)) !== undefined;
  }

  async #remove(path: string, context: CallContext): Promise<void> {
    await changeFiles((addon, id) => addon.removeTree(path, id), context);
  }

  async #write(target: string, data: string | Uint8Array, context: CallContext): Promise<void> {
    const options = { how: 'replace', mode: 0o600, sync: false } as const;
    await changeFiles((addon, id) => addon.writeFile(target + SUFFIX, data, options, id), context);
  }
}
