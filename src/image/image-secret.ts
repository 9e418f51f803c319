// The secret of an encrypted image, as QEMU takes it.
import { isUtf8 } from 'node:buffer';
import { ComputeError } from '../driver/errors.js';

const MOST_BYTES = 8192;

/**
 * Its bytes, in memory of their own. INVALID_ARGUMENT for what cannot be the secret of any image that QEMU reads: nothing, more
 * than 8 KiB, a NUL, or bytes that are not UTF-8. No message repeats any of it.
 */
export function secretBytes(secret: string | Uint8Array): Buffer {
  const bytes = Buffer.from(secret);
  if (bytes.length > 0 && bytes.length <= MOST_BYTES && !bytes.includes(0) && isUtf8(bytes)) return bytes;
  bytes.fill(0);
  throw new ComputeError(
    'INVALID_ARGUMENT',
    `the secret of an image has 1 to ${MOST_BYTES} bytes of UTF-8, none of them NUL`,
  );
}
