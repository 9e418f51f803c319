// What the disks of all instances may still grow by: one look at their files, and at what they are where that is new.
import { join } from 'node:path';
import { callNative } from '../native.js';
import type { CallContext } from './hypervisor.js';
import { DISK_NAMES, type InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';

/** Numbers that statFiles gives for a path. */
const [ALLOCATED, , MTIME, INODE, NUMBERS] = [0, 1, 2, 3, 4] as const;
const NAMES: readonly string[] = ['disk.info', ...DISK_NAMES];

interface KnownDisks {
  readonly mtimeMs: number;
  readonly inode: number;
  readonly disks: InstanceDisks;
}

export class DiskGrowth {
  readonly #instancesPath: string;
  #known = new Map<string, KnownDisks>();

  constructor(instancesPath: string) {
    this.#instancesPath = instancesPath;
  }

  /** Bytes, the sum over those instances. One that has no files adds nothing. */
  async bytes(uuids: readonly string[], context: CallContext): Promise<number> {
    const paths = uuids.flatMap((uuid) => NAMES.map((name) => join(this.#instancesPath, uuid, name)));
    const status = await callNative((addon, id) => addon.statFiles(paths, id), context);
    const number = (instance: number, name: number, which: number): number =>
      status[(instance * NAMES.length + name) * NUMBERS + which] ?? Number.NaN;
    const known = await Promise.all(
      uuids.map((uuid, i) => this.#disks(uuid, number(i, 0, MTIME), number(i, 0, INODE), context)),
    );
    // Those that are gone are forgotten.
    this.#known = new Map(uuids.flatMap((uuid, i) => (known[i] ? [[uuid, known[i]]] : [])));
    let sum = 0;
    for (const [i, one] of known.entries()) {
      for (const [n, name] of DISK_NAMES.entries()) {
        const disk = one?.disks[name];
        const allocated = number(i, n + 1, ALLOCATED);
        if (disk) sum += Math.max(0, disk.virtualSizeBytes - (Number.isNaN(allocated) ? 0 : allocated));
      }
    }
    return sum;
  }

  /** From memory as long as the file is the same: it is written whole, under a new inode. */
  async #disks(
    uuid: string,
    mtimeMs: number,
    inode: number,
    context: CallContext,
  ): Promise<KnownDisks | undefined> {
    if (Number.isNaN(inode)) return undefined;
    const before = this.#known.get(uuid);
    if (before?.mtimeMs === mtimeMs && before.inode === inode) return before;
    const disks = await new InstanceFiles(this.#instancesPath, uuid).readDisks(context);
    return disks && { mtimeMs, inode, disks };
  }
}
