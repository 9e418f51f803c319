// One node at a time on an instances path: a lock that the kernel lifts when its process dies.
import { basename, join } from 'node:path';
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { callNative, type NativeFileLock } from '../native.js';
import type { NodeFiles } from './node-files.js';

const holderSchema = v.object({
  pid: v.pipe(v.number(), v.safeInteger()),
  /** ISO 8601. */
  since: v.pipe(v.string(), v.maxLength(64)),
  command: v.pipe(v.string(), v.maxLength(512)),
});

type Holder = v.InferOutput<typeof holderSchema>;

export class HostLock {
  readonly #lock: NativeFileLock;

  private constructor(lock: NativeFileLock) {
    this.#lock = lock;
  }

  /** Rejects with `HOST_LOCKED` and who holds it, at once. */
  static async acquire(files: NodeFiles): Promise<HostLock> {
    const lock = await files.lock(join(files.locksPath, 'host'));
    const holderPath = join(files.locksPath, 'host.json');
    if (!lock) throw hostLocked(files.instancesPath, await readHolder(files, holderPath));
    try {
      // Beside the lock file, for people and for the refusal; who holds the lock is decided by the lock alone.
      await files.write(holderPath, `${JSON.stringify(thisProcess())}\n`, 'replace');
    } catch (error) {
      await callNative((_addon, id) => lock.release(id), { operation: 'unlock' });
      throw error;
    }
    return new HostLock(lock);
  }

  /** Idempotent. The files stay. */
  async release(): Promise<void> {
    await callNative((_addon, id) => this.#lock.release(id), { operation: 'unlock' });
  }
}

/** Program and script, without arguments: those may hold secrets. */
function thisProcess(): Holder {
  const command = [process.execPath, process.argv[1] ?? '']
    .filter((part) => part !== '')
    .map((part) => basename(part))
    .join(' ');
  return { pid: process.pid, since: new Date().toISOString(), command: command.slice(0, 512) };
}

async function readHolder(files: NodeFiles, path: string): Promise<Holder | undefined> {
  try {
    return v.parse(holderSchema, JSON.parse((await files.read(path)) ?? ''));
  } catch {
    // The holder has not written it yet: the refusal then names nobody.
    return undefined;
  }
}

function hostLocked(instancesPath: string, holder: Holder | undefined): ComputeError {
  const who = holder
    ? `process ${holder.pid} (${holder.command}) since ${holder.since}`
    : 'a process that has only just started';
  return new ComputeError(
    'HOST_LOCKED',
    `${instancesPath} is used by ${who}; one node at a time can have it: stop that one or choose another instancesPath`,
    { operation: 'open', details: { instancesPath, ...(holder && { holder }) } },
  );
}
