// Where a node keeps its files below instances_path, and the few calls it makes on them; all run on native threads.
import { join } from 'node:path';
import { callNative, type NativeFileLock } from '../native.js';

type WriteHow = 'create' | 'replace' | 'append';

/** A base is read by the QEMU user through these directories: others may pass, not list. */
const DIRECTORY_MODE = 0o711;
const FILE_MODE = 0o600;
/** A journal or record is never near this. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

export class NodeFiles {
  readonly instancesPath: string;
  readonly journalPath: string;
  readonly locksPath: string;

  constructor(instancesPath: string) {
    this.instancesPath = instancesPath;
    this.journalPath = join(instancesPath, 'journal');
    this.locksPath = join(instancesPath, 'locks');
  }

  instanceDirectory(uuid: string): string {
    return join(this.instancesPath, uuid);
  }

  async makeLayout(): Promise<void> {
    for (const path of [this.instancesPath, this.journalPath, this.locksPath]) await this.makeDirectory(path);
  }

  /** False where it stood. */
  makeDirectory(path: string): Promise<boolean> {
    return callNative((addon, id) => addon.makeDirectory(path, DIRECTORY_MODE, id), {
      operation: 'makeDirectory',
    });
  }

  write(path: string, text: string, how: WriteHow, sync = false): Promise<void> {
    const options = { how, mode: FILE_MODE, sync };
    return callNative((addon, id) => addon.writeFile(path, text, options, id), { operation: 'writeFile' });
  }

  /** Undefined where there is nothing. */
  async read(path: string): Promise<string | undefined> {
    if (!(await this.exists(path))) return undefined;
    const bytes = await callNative((addon, id) => addon.readFile(path, MAX_READ_BYTES, id), {
      operation: 'readFile',
    });
    return bytes.toString('utf8');
  }

  async exists(path: string): Promise<boolean> {
    const status = await callNative((addon, id) => addon.statFile(path, id), { operation: 'statFile' });
    return status !== undefined;
  }

  list(path: string): Promise<string[]> {
    return callNative((addon, id) => addon.listDirectory(path, id), { operation: 'listDirectory' });
  }

  /** Success where there is nothing. */
  remove(path: string): Promise<void> {
    return callNative((addon, id) => addon.removeTree(path, id), { operation: 'removeTree' });
  }

  /** Undefined where another has it; never waits. */
  lock(path: string): Promise<NativeFileLock | undefined> {
    const options = { shared: false, wait: false };
    return callNative((addon, id) => addon.lockFile(path, options, id), { operation: 'lockFile' });
  }
}
