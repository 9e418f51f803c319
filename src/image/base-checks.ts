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
  try {
    return await inspect(path, 'raw', maxBytes, signal);
  } catch (error) {
    if (!isMismatch(error)) throw error;
    return await inspect(path, 'iso', maxBytes, signal).catch(() => {
      throw error;
    });
  }
}

/**
 * A base that stands, by all that its format's reader checks. Where the format is not known it is raw bytes without a
 * signature, or a qcow2 image: nothing else is published.
 */
export async function inspectBase(
  path: string,
  format: 'raw' | 'qcow2' | undefined,
  maxBytes: number,
): Promise<NativeImageVerdict> {
  if (format === 'qcow2') return await inspect(path, 'qcow2', maxBytes, undefined);
  try {
    return await inspectRaw(path, maxBytes, undefined);
  } catch (error) {
    if (format === 'raw' || !isMismatch(error)) throw error;
    return await inspect(path, 'qcow2', maxBytes, undefined);
  }
}

async function inspect(
  path: string,
  format: string,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<NativeImageVerdict> {
  return await callNative((addon, id) => addon.inspectImage(path, format, maxBytes, id), {
    operation: 'inspection of a base',
    signal,
  });
}

function isMismatch(error: unknown): boolean {
  return ComputeError.is(error) && error.details['rule'] === 'format-mismatch';
}
