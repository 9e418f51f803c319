// The lock of one base, between processes: shared while an overlay is put on it, exclusive while it is made.
import { callNative, type NativeFileLock } from '../native.js';

/** Runs `work` while holding `<instances_path>/locks/<sha1>`. The file stays for ever: see docs/images.md. */
export async function withBaseLock<T>(
  path: string,
  options: {
    readonly shared: boolean;
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
  },
  work: () => Promise<T>,
): Promise<T> {
  const lock = await takeLock(path, options);
  try {
    return await work();
  } finally {
    await lock.release(0);
  }
}

/** undefined where someone has it. */
export async function tryBaseLock(path: string): Promise<NativeFileLock | undefined> {
  return await callNative((addon, id) => addon.lockFile(path, { shared: false, wait: false }, id), {
    operation: 'try the lock of a base',
  });
}

async function takeLock(
  path: string,
  options: {
    readonly shared: boolean;
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
  },
): Promise<NativeFileLock> {
  let taking: Promise<NativeFileLock | undefined> | undefined;
  try {
    const lock = await callNative(
      (addon, id) => {
        taking = addon.lockFile(path, { shared: options.shared, wait: true }, id);
        return taking;
      },
      { operation: 'wait for the lock of a base', signal: options.signal, timeoutMs: options.timeoutMs },
    );
    if (!lock) throw new Error('a lock that was waited for was not given');
    return lock;
  } catch (error) {
    // It may have been given at the moment of the abort: nobody would release it before the garbage collector.
    void taking?.then((lock) => lock?.release(0)).catch(() => undefined);
    throw error;
  }
}
