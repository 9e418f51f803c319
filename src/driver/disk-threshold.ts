// The argument of setDiskThreshold, checked alike by all drivers.
import { ComputeError } from './errors.js';

/** Throws `INVALID_ARGUMENT`. */
export function checkThreshold(bytes: number, instanceUuid: string): void {
  if (Number.isSafeInteger(bytes) && bytes >= 0) return;
  throw new ComputeError(
    'INVALID_ARGUMENT',
    `a disk threshold of instance ${instanceUuid} is a whole number of bytes, not ${bytes}`,
    { operation: 'setDiskThreshold', instanceUuid },
  );
}
