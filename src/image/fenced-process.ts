// A program of the host that works on image files, behind limits: the one way in which this library runs one.
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';

const MIB = 2 ** 20;
const MEMORY_BYTES = 2048 * MIB;
const MESSAGE_BYTES = 4096;
/** Less is a full disk, whatever the program says. */
const FULL_BYTES = MIB;

export interface FencedProgram {
  readonly operation: string;
  readonly program: string;
  /** It gets files under these names, so that no name can pass for an option or a protocol. */
  readonly words: readonly string[];
  /** Inherited as `/dev/fd/3`, `/dev/fd/4` ... */
  readonly descriptors: readonly number[];
  /** The largest file it may write. */
  readonly fileBytes: number;
  /** Of that file, what it must do in a second of CPU time. Default 256 MiB. */
  readonly bytesPerCpuSecond?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onOutput?: ((text: string) => void) | undefined;
}

/** How it ended; `missing` where it, prlimit or setpriv is not installed. */
export type FencedEnd =
  | { readonly how: 'missing' }
  | {
      readonly how: 'ended';
      readonly status: number | null;
      readonly death: NodeJS.Signals | null;
      /** The end of what it wrote to its standard error. */
      readonly message: string;
    };

/**
 * Runs it in a process group of its own, with limits of CPU time (30 s, and more by the size of the file, as the
 * kernel counts), memory (2 GiB), file size and wall time (ten times that of the CPU); it dies with this process, and when
 * the signal fires. Resolves also where it failed; rejects with SYSTEM where it could not be started.
 */
export async function runFenced(fenced: FencedProgram): Promise<FencedEnd> {
  const { fileBytes, bytesPerCpuSecond = 256 * MIB } = fenced;
  const cpuSeconds = 30 + Math.ceil(fileBytes / bytesPerCpuSecond);
  const { signal, onOutput } = fenced;
  const [first = '', ...words] = commandLine(fenced, cpuSeconds);
  const child = spawn(first, words, {
    stdio: ['ignore', 'pipe', 'pipe', ...fenced.descriptors],
    detached: true,
    env: { PATH: searchPath(), LC_ALL: 'C' },
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
  child.stdout?.setEncoding('utf8').on('data', (text: string) => onOutput?.(text));
  try {
    return await new Promise<FencedEnd>((resolve, reject) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') resolve({ how: 'missing' });
        else reject(systemError(fenced.operation, error));
      });
      // 127: prlimit or setpriv found no next program to become.
      child.once('close', (status, death) =>
        resolve(
          status === 127 ? { how: 'missing' } : { how: 'ended', status, death, message: message.trim() },
        ),
      );
    });
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener('abort', kill);
  }
}

/** mkfs lies where the PATH of a service seldom leads. An empty part would be the working directory. */
export function searchPath(): string {
  return [process.env['PATH'], '/usr/sbin', '/sbin'].filter(Boolean).join(':');
}

function commandLine({ program, words, fileBytes }: FencedProgram, cpuSeconds: number): string[] {
  return [
    ...['prlimit', `--cpu=${cpuSeconds}`, `--as=${MEMORY_BYTES}`, `--fsize=${fileBytes}`],
    ...['--core=0', '--nofile=64', '--'],
    ...['setpriv', '--pdeathsig', 'KILL', '--no-new-privs', '--'],
    program,
    ...words,
  ];
}

/** Opens without following a link. Rejects with SYSTEM. */
export async function openFenced(operation: string, path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw systemError(operation, error);
  }
}

/** What Node.js says of a failed system call, as the addon's are told. */
export function systemError(operation: string, error: unknown): ComputeError {
  const { message, errno = 0, path } = error as NodeJS.ErrnoException;
  return new ComputeError('SYSTEM', `${operation} failed: ${message}`, {
    operation,
    details: { errno: -errno, path },
    cause: error,
  });
}

/** After a failure: NO_SPACE where that is why. */
export async function throwIfFull(operation: string, path: string): Promise<void> {
  const status = await callNative((addon, id) => addon.statFs(path, id), { operation });
  if (status.availableBytes >= FULL_BYTES) return;
  throw new ComputeError('NO_SPACE', `no space is left for ${path}`, {
    operation,
    details: { availableBytes: status.availableBytes },
  });
}
