// The one place where qemu-img runs: for the formats that the engine inspects and does not read, and for encrypted disks.
import { closeSync, constants } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
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

/** Those whose disk may be encrypted by LUKS, with the option of QEMU's driver that names the secret. */
const ENCRYPTED_FORMATS = {
  qcow2: 'encrypt.format=luks,encrypt.key-secret',
  luks: 'key-secret',
} as const;
export type EncryptedFormat = keyof typeof ENCRYPTED_FORMATS;

export const FOREIGN_FORMATS: readonly ForeignFormat[] = Object.keys(QEMU_FORMATS) as ForeignFormat[];

const OPERATION = 'conversion by qemu-img';
const MIB = 2 ** 20;
/** st_blocks counts in these. */
const BLOCK_BYTES = 512;

export interface ForeignConversion {
  /** Inspected before: it must name no other file. */
  readonly source: string;
  readonly format: ForeignFormat | EncryptedFormat;
  /** Of an encrypted format, and only there: UTF-8 without a NUL. */
  readonly secret?: Uint8Array | undefined;
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

export function isEncryptedFormat(format: string): format is EncryptedFormat {
  return Object.hasOwn(ENCRYPTED_FORMATS, format);
}

/**
 * `qemu-img convert`, {@link runFenced fenced}, with both files as descriptors; and the secret, which stands in no argument,
 * no environment and no named file.
 * Rejects with IMAGE_UNACCEPTABLE and the rule `unconvertible` or `wrong-secret`, NO_SPACE, UNSUPPORTED (no qemu-img),
 * SYSTEM, ABORTED.
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
      await withSecret(conversion, (secret) => run(conversion, [from.fd, to.fd, ...secret]));
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

/** Descriptors for the length of the call: of the secret, or none. */
async function withSecret(
  { secret }: ForeignConversion,
  work: (descriptors: readonly number[]) => Promise<void>,
): Promise<void> {
  if (secret === undefined) return await work([]);
  const descriptor = await callNative((addon, id) => addon.makeSecretFile(secret, id), {
    operation: OPERATION,
  });
  try {
    await work([descriptor]);
  } finally {
    closeSync(descriptor);
  }
}

/** Inherited as 3, 4 and 5: the first after the standard ones. */
const FROM = '/dev/fd/3';
const TO = '/dev/fd/4';
const SECRET = '/dev/fd/5';

/** The source as arguments; its format is always named, never probed. */
function sourceArguments(format: ForeignConversion['format']): string[] {
  if (!isEncryptedFormat(format)) return ['-f', QEMU_FORMATS[format], FROM];
  const image = `driver=${format},${ENCRYPTED_FORMATS[format]}=secret,file.driver=file,file.filename=${FROM}`;
  return ['--object', `secret,id=secret,file=${SECRET}`, '--image-opts', image];
}

async function run(conversion: ForeignConversion, descriptors: readonly number[]): Promise<void> {
  const { source, target, format, secret, virtualSizeBytes, signal, onProgress } = conversion;
  const end = await runFenced({
    operation: OPERATION,
    program: 'qemu-img',
    words: [
      ...['convert', '-p', '-n', '--target-is-zero', '-W'],
      ...['-O', 'raw', ...sourceArguments(format), TO],
    ],
    descriptors,
    fileBytes: virtualSizeBytes + MIB,
    // Ciphers are slow: a GiB of AES took 6 s, of Serpent 12 s.
    bytesPerCpuSecond: secret === undefined ? undefined : 32 * MIB,
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
  if (WRONG_SECRET.test(message)) throw wrongSecret(conversion);
  const how = death === null ? (message.split('\n').at(-1) ?? '') : `it died of ${death}`;
  throw new ComputeError('IMAGE_UNACCEPTABLE', `qemu-img cannot convert ${source}: ${how}`, {
    operation: OPERATION,
    details: { rule: 'unconvertible', status, signal: death, message },
  });
}

/**
 * qemu-img has one status for all that fails. Its words at the end of the line are its own: an image may put up to 32 bytes of
 * its own into such a message, fewer than these.
 */
const WRONG_SECRET = /: Invalid password, cannot unlock any keyslot\n?$/;

const wrongSecret = ({ source }: ForeignConversion): ComputeError =>
  new ComputeError('IMAGE_UNACCEPTABLE', `the secret does not open ${source}`, {
    operation: OPERATION,
    details: { rule: 'wrong-secret' },
  });

const missing = (): ComputeError =>
  new ComputeError(
    'UNSUPPORTED',
    'this image is converted by qemu-img, which is not installed (Debian: qemu-utils, util-linux; Fedora: qemu-img, util-linux)',
    { operation: OPERATION },
  );

const aborted = ({ source, signal }: ForeignConversion): ComputeError =>
  new ComputeError('ABORTED', `the conversion of ${source} was aborted`, {
    operation: OPERATION,
    cause: signal?.reason,
  });
