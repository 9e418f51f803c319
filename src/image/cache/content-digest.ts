// The digest of a file, piece by piece, at a bounded rate.
import { setTimeout as wait } from 'node:timers/promises';
import { ComputeError } from '../../driver/errors.js';
import { callNative } from '../../native.js';
import type { ContentDigest } from '../base-record.js';

/** Of one native call: what a launch's image may wait for. */
const PIECE_BYTES = 1024 * 1024;
const UNPACED_PIECE_BYTES = 16 * PIECE_BYTES;

export interface TakeDigestOptions {
  /** Past the page cache where the file system can. */
  readonly direct: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Default: as fast as it goes. Holes take a sixteenth, with `sparse-sha256` none. */
  readonly bytesPerSecond?: number | undefined;
  /** Keeps the process alive while it waits. Default false. */
  readonly ref?: boolean | undefined;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

export interface TakenDigest {
  readonly value: string;
  /** Of the very file that was read. */
  readonly inode: number;
  readonly sizeBytes: number;
}

/** Rejects with SYSTEM, IMAGE_UNACCEPTABLE (`truncated`, `not-regular-file`), ABORTED. */
export async function takeDigest(
  path: string,
  algorithm: ContentDigest['algorithm'],
  options: TakeDigestOptions,
): Promise<TakenDigest> {
  const { direct, signal, bytesPerSecond, onProgress } = options;
  const operation = `digest of ${path}`;
  const call = { operation, signal, waitOnAbort: true };
  // Without the signal: a file that was opened and not given to us would stay open, and its room taken.
  const file = await callNative((addon, id) => addon.openFileDigest(path, { algorithm, direct }, id), {
    operation,
  });
  const { inode, sizeBytes } = file;
  try {
    for (;;) {
      const begin = performance.now();
      const most = bytesPerSecond === undefined ? UNPACED_PIECE_BYTES : PIECE_BYTES;
      const { value, workBytes, doneBytes } = await callNative((_addon, id) => file.advance(most, id), call);
      onProgress?.(doneBytes, sizeBytes);
      if (value !== undefined) return { value, inode, sizeBytes };
      if (bytesPerSecond === undefined) continue;
      // No catching up: after a stall the rate is what it was.
      await pause((workBytes * 1000) / bytesPerSecond - (performance.now() - begin), path, options);
    }
  } finally {
    file.close();
  }
}

async function pause(ms: number, path: string, { signal, ref = false }: TakeDigestOptions): Promise<void> {
  try {
    if (ms > 1) await wait(ms, undefined, { ref, ...(signal && { signal }) });
  } catch (cause) {
    throw new ComputeError('ABORTED', `the digest of ${path} was aborted`, { cause });
  }
}
