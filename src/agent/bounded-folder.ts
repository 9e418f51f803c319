// A folder of files that are kept in case somebody looks for them: the newest, so many of them and so many bytes.
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

export interface FolderLimits {
  readonly mostFiles: number;
  readonly mostBytes: number;
}

export class BoundedFolder {
  readonly #path: string;
  readonly #limits: FolderLimits;
  readonly #onDropped: (names: readonly string[]) => void;
  /** Bytes by name, oldest first. */
  readonly #files = new Map<string, number>();
  #bytes = 0;

  /** `onDropped` must not throw. */
  constructor(path: string, limits: FolderLimits, onDropped: (names: readonly string[]) => void) {
    this.#path = path;
    this.#limits = limits;
    this.#onDropped = onDropped;
  }

  /** Of what is in the folder already; gives the names that stay. Rejects with the system's error, as all of it. */
  async load(): Promise<readonly string[]> {
    const names = await readdir(this.#path);
    const files = await Promise.all(
      names.map(async (name) => ({ name, ...(await sizeAndTime(join(this.#path, name))) })),
    );
    for (const { name, size } of files.sort((a, b) => a.mtimeMs - b.mtimeMs)) this.#count(name, size);
    await this.#dropOldest();
    return [...this.#files.keys()];
  }

  /** A file that was written; the oldest make room for it. */
  async add(name: string, bytes: number): Promise<void> {
    this.forget(name);
    this.#count(name, bytes);
    await this.#dropOldest();
  }

  /** A file that was moved away. */
  forget(name: string): void {
    this.#bytes -= this.#files.get(name) ?? 0;
    this.#files.delete(name);
  }

  #count(name: string, bytes: number): void {
    this.#files.set(name, bytes);
    this.#bytes += bytes;
  }

  async #dropOldest(): Promise<void> {
    const { mostFiles, mostBytes } = this.#limits;
    const dropped: string[] = [];
    for (const name of this.#files.keys()) {
      if (this.#files.size <= mostFiles && this.#bytes <= mostBytes) break;
      this.forget(name);
      dropped.push(name);
    }
    if (dropped.length > 0) this.#onDropped(dropped);
    await Promise.all(dropped.map((name) => rm(join(this.#path, name), { force: true, recursive: true })));
  }
}

async function sizeAndTime(path: string): Promise<{ readonly size: number; readonly mtimeMs: number }> {
  const { size, mtimeMs } = await stat(path);
  return { size, mtimeMs };
}
