// The one place where qemu-img runs: for the formats that the engine inspects and does not read, and for encrypted disks.
import { spawn } from 'node:child_process';
import { closeSync, constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';

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
const MEMORY_BYTES = 2048 * MIB;
const MESSAGE_BYTES = 4096;
/** st_blocks counts in these. */
const BLOCK_BYTES = 512;
/** Less is a full disk, whatever qemu-img says. */
const FULL_BYTES = MIB;

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
 * `qemu-img convert` in a process group of its own, with limits of CPU time (30 s and 1 s more for each 256 MiB of the
 * disk, 32 MiB of an encrypted one, as the kernel counts), memory (2 GiB), file size and wall time (ten times that of the
 * CPU); it dies with this process. It gets both files as descriptors, so that no name can pass for an option or a protocol;
 * and the secret, which stands in no argument, no environment and no named file.
 * Rejects with IMAGE_UNACCEPTABLE and the rule `unconvertible` or `wrong-secret`, NO_SPACE, UNSUPPORTED (no qemu-img),
 * SYSTEM, ABORTED.
 */
export async function convertForeign(
  conversion: ForeignConversion,
): Promise<{ readonly writtenBytes: number }> {
  const { source, target, virtualSizeBytes, sync, signal } = conversion;
  if (signal?.aborted) throw aborted(conversion);
  const from = await opened(source, constants.O_RDONLY);
  try {
    const to = await opened(target, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
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

async function opened(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw systemError(error);
  }
}

/** What Node.js says of a failed system call, as the addon's are told. */
function systemError(error: unknown): ComputeError {
  const { message, errno = 0, path } = error as NodeJS.ErrnoException;
  return new ComputeError('SYSTEM', `${OPERATION} failed: ${message}`, {
    operation: OPERATION,
    details: { errno: -errno, path },
    cause: error,
  });
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

function commandLine({ format, virtualSizeBytes }: ForeignConversion, cpuSeconds: number): string[] {
  return [
    ...['prlimit', `--cpu=${cpuSeconds}`, `--as=${MEMORY_BYTES}`, `--fsize=${virtualSizeBytes + MIB}`],
    ...['--core=0', '--nofile=64', '--'],
    ...['setpriv', '--pdeathsig', 'KILL', '--no-new-privs', '--'],
    ...['qemu-img', 'convert', '-p', '-n', '--target-is-zero', '-W'],
    ...['-O', 'raw', ...sourceArguments(format), TO],
  ];
}

async function run(conversion: ForeignConversion, descriptors: readonly number[]): Promise<void> {
  const { source, target, secret, virtualSizeBytes, signal, onProgress } = conversion;
  // Ciphers are slow: a GiB of AES took 6 s, of Serpent 12 s.
  const bytesPerSecond = secret === undefined ? 256 * MIB : 32 * MIB;
  const cpuSeconds = 30 + Math.ceil(virtualSizeBytes / bytesPerSecond);
  const [program = '', ...words] = commandLine(conversion, cpuSeconds);
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe', ...descriptors],
    detached: true,
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
  });
  const kill = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  };
  const deadline = setTimeout(kill, cpuSeconds * 10_000);
  if (signal?.aborted) kill();
  signal?.addEventListener('abort', kill, { once: true });
  let message = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    message = (message + text).slice(-MESSAGE_BYTES);
  });
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const percent = /\((\d+\.\d+)\/100%\)\s*$/.exec(text)?.[1];
    if (percent !== undefined) onProgress?.(Math.floor((Number(percent) / 100) * virtualSizeBytes));
  });
  try {
    const { status, death } = await ended(child);
    if (status === 0) return;
    if (signal?.aborted) throw aborted(conversion);
    // 127: prlimit or setpriv found no next program to become.
    if (status === 127) throw missing();
    await assertRoom(target);
    if (WRONG_SECRET.test(message)) throw wrongSecret(conversion);
    const how = death === null ? (message.trim().split('\n').at(-1) ?? '') : `it died of ${death}`;
    throw new ComputeError('IMAGE_UNACCEPTABLE', `qemu-img cannot convert ${source}: ${how}`, {
      operation: OPERATION,
      details: { rule: 'unconvertible', status, signal: death, message: message.trim() },
    });
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener('abort', kill);
  }
}

function ended(
  child: ReturnType<typeof spawn>,
): Promise<{ readonly status: number | null; readonly death: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ENOENT' ? missing() : systemError(error));
    });
    child.once('close', (status, death) => resolve({ status, death }));
  });
}

async function assertRoom(target: string): Promise<void> {
  const status = await callNative((addon, id) => addon.statFs(target, id), { operation: OPERATION });
  if (status.availableBytes >= FULL_BYTES) return;
  throw new ComputeError('NO_SPACE', `no space is left for ${target}`, {
    operation: OPERATION,
    details: { availableBytes: status.availableBytes },
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
