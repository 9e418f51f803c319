// The one place where qemu-img runs: for the formats that the engine inspects and does not read.
import { constants } from 'node:fs';
import { type FileHandle, unlink } from 'node:fs/promises';
import { ComputeError } from '../driver/errors.js';
import { openFenced, runFenced, throwIfFull } from './fenced-process.js';

/** By Glance's names; what QEMU calls them. */
export const QEMU_FORMATS = {
  vmdk: 'vmdk',
  vhd: 'vpc',
  vhdx: 'vhdx',
  vdi: 'vdi',
  qed: 'qed',
  qcow: 'qcow',
  ploop: 'parallels',
} as const;
export type ForeignFormat = keyof typeof QEMU_FORMATS;

export const FOREIGN_FORMATS: readonly ForeignFormat[] = Object.keys(QEMU_FORMATS) as ForeignFormat[];

const OPERATION = 'conversion by qemu-img';
const MIB = 2 ** 20;
/** st_blocks counts in these. */
const BLOCK_BYTES = 512;

export interface ForeignConversion {
  /** Inspected before: it must name no other file. */
  readonly source: string;
  readonly format: ForeignFormat;
  /** Must not exist; raw, sparse, 0600. Gone after a failure. */
  readonly target: string;
  /** As the inspection says. */
  readonly virtualSizeBytes: number;
  /** fsync before it resolves. */
  readonly sync: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((doneBytes: number) => void) | undefined;
}

export function isForeign(format: string): format is ForeignFormat {
  return Object.hasOwn(QEMU_FORMATS, format);
}

/**
 * `qemu-img convert`, {@link runFenced fenced}, with both files as descriptors.
 * Rejects with IMAGE_UNACCEPTABLE and the rule `unconvertible`, NO_SPACE, UNSUPPORTED (no qemu-img), SYSTEM, ABORTED.
 */
export async function convertForeign(
  conversion: ForeignConversion,
): Promise<{ readonly writtenBytes: number }> {
  const { source, target, virtualSizeBytes, sync, signal } = conversion;
  if (signal?.aborted) throw aborted(conversion);
  const from = await openFenced(OPERATION, source, constants.O_RDONLY);
  try {
    const to = await openFenced(OPERATION, target, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
    try {
      await to.truncate(virtualSizeBytes);
      await run(conversion, from, to);
      if (sync) await to.sync();
      return { writtenBytes: (await to.stat()).blocks * BLOCK_BYTES };
    } catch (error) {
      await unlink(target).catch(() => undefined);
      throw error;
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

async function run(conversion: ForeignConversion, from: FileHandle, to: FileHandle): Promise<void> {
  const { source, target, format, virtualSizeBytes, signal, onProgress } = conversion;
  const end = await runFenced({
    operation: OPERATION,
    program: 'qemu-img',
    words: [
      ...['convert', '-p', '-n', '--target-is-zero', '-W'],
      ...['-f', QEMU_FORMATS[format], '-O', 'raw', '/dev/fd/3', '/dev/fd/4'],
    ],
    files: [from, to],
    fileBytes: virtualSizeBytes + MIB,
    signal,
    onOutput: (text) => {
      const percent = /\((\d+\.\d+)\/100%\)\s*$/.exec(text)?.[1];
      if (percent !== undefined) onProgress?.(Math.floor((Number(percent) / 100) * virtualSizeBytes));
    },
  });
  if (end.how === 'missing') throw missing();
  const { status, death, message } = end;
  if (status === 0) return;
  if (signal?.aborted) throw aborted(conversion);
  await throwIfFull(OPERATION, target);
  const how = death === null ? (message.split('\n').at(-1) ?? '') : `it died of ${death}`;
  throw new ComputeError('IMAGE_UNACCEPTABLE', `qemu-img cannot convert ${source}: ${how}`, {
    operation: OPERATION,
    details: { rule: 'unconvertible', status, signal: death, message },
  });
}

const missing = (): ComputeError =>
  new ComputeError(
    'UNSUPPORTED',
    'this format is converted by qemu-img, which is not installed (Debian: qemu-utils, util-linux; Fedora: qemu-img, util-linux)',
    { operation: OPERATION },
  );

const aborted = ({ source, signal }: ForeignConversion): ComputeError =>
  new ComputeError('ABORTED', `the conversion of ${source} was aborted`, {
    operation: OPERATION,
    cause: signal?.reason,
  });
