// What a base must be, however it came to be: small enough for the flavor, and no other format in disguise.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { callNative, type NativeImageVerdict } from '../native.js';

/** `limitBytes` Infinity: no limit. */
export function assertDiskFits(
  image: Pick<ImageMeta, 'id'>,
  virtualSizeBytes: number,
  limitBytes: number,
): void {
  if (virtualSizeBytes <= limitBytes) return;
  throw new ComputeError(
    'FLAVOR_DISK_TOO_SMALL',
    `image ${image.id} needs a disk of ${virtualSizeBytes} bytes, the flavor gives ${limitBytes}`,
    { operation: 'image cache', details: { requiredBytes: virtualSizeBytes, flavorRootBytes: limitBytes } },
  );
}

/** A disk that looks like yet another image format is a disguise; an ISO on a disk is not. */
export async function inspectRaw(
  path: string,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<NativeImageVerdict> {
  const inspect = (format: string): Promise<NativeImageVerdict> =>
    callNative((addon, id) => addon.inspectImage(path, format, maxBytes, id), {
      operation: 'inspection of a base',
      signal,
    });
  try {
    return await inspect('raw');
  } catch (error) {
    if (!ComputeError.is(error) || error.details['rule'] !== 'format-mismatch') throw error;
    return await inspect('iso').catch(() => {
      throw error;
    });
  }
}
