// What the kernel tells in files: small ones, that may not be there, or go while they are read.
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
import type { CallContext } from './hypervisor.js';

const SMALL_FILE_BYTES = 4096;
/** ENOENT, ENODEV, ENOTDIR. */
const ABSENT: readonly unknown[] = [2, 19, 20];

/** Names in a directory, sorted; none where it is not there. */
export async function namesIn(directory: string, context: CallContext): Promise<string[]> {
  return await callNative((addon, id) => addon.listDirectory(directory, id), context).catch(absent([]));
}

/** '' where it is not there. */
export async function smallFile(path: string, context: CallContext): Promise<string> {
  const read = callNative((addon, id) => addon.readFile(path, SMALL_FILE_BYTES, id), context);
  return (await read.catch(absent(Buffer.alloc(0)))).toString('utf8');
}

function absent<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (ComputeError.is(error) && ABSENT.includes(error.details['errno'])) return value;
    throw error;
  };
}
