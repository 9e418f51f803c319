// The one place where mkfs runs: for the base of ephemeral disks, once for each size and file system.
import { constants } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { ComputeError } from '../driver/errors.js';
import { openFenced, runFenced, systemError, throwIfFull } from './fenced-process.js';

export type FileSystem = 'ext4' | 'vfat';

export interface Mkfs {
  readonly program: string;
  readonly words: readonly string[];
  /** Of a larger disk mkfs would leave the rest unused, with no more than a warning. */
  readonly mostBytes: number;
  /** Which brings the program, in both families of distributions. */
  readonly package: string;
}

/** Nova's label of the first ephemeral disk; guests find the disk by it. */
const LABEL = 'ephemeral0';

/** The file is new and sparse: a journal that is not zeroed again takes no room in every copy. */
export const MKFS: Readonly<Record<FileSystem, Mkfs>> = {
  ext4: {
    program: 'mkfs.ext4',
    words: ['-q', '-F', '-E', 'lazy_journal_init=1', '-L', LABEL],
    mostBytes: 2 ** 60,
    package: 'e2fsprogs',
  },
  vfat: {
    program: 'mkfs.vfat',
    words: ['-n', LABEL],
    mostBytes: (2 ** 32 - 1) * 512,
    package: 'dosfstools',
  },
};

const OPERATION = 'making of a file system';
const MIB = 2 ** 20;

/**
 * Makes `target` (must not exist, 0600, sparse): an empty file system, by mkfs, {@link runFenced fenced}. Not synced;
 * gone after a failure. Rejects with UNSUPPORTED (no mkfs; names the package), NO_SPACE, SYSTEM, ABORTED.
 */
export async function makeFileSystem(
  target: string,
  fileSystem: FileSystem,
  bytes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const file = await openFenced(OPERATION, target, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
  try {
    await file.truncate(bytes);
    const { program, words } = MKFS[fileSystem];
    const end = await runFenced({
      operation: OPERATION,
      program,
      words: [...words, '/dev/fd/3'],
      descriptors: [file.fd],
      fileBytes: bytes + MIB,
      signal,
    });
    if (end.how === 'ended' && end.status === 0) return;
    if (signal?.aborted) {
      throw new ComputeError('ABORTED', 'the making of a file system was aborted', {
        operation: OPERATION,
        cause: signal.reason,
      });
    }
    if (end.how === 'missing') throw missing(MKFS[fileSystem]);
    await throwIfFull(OPERATION, target);
    const { status, death, message } = end;
    const how = death === null ? (message.split('\n').at(-1) ?? '') : `it died of ${death}`;
    throw new ComputeError('SYSTEM', `${program} made no file system of ${bytes} bytes: ${how}`, {
      operation: OPERATION,
      details: { status, signal: death, message },
    });
  } catch (error) {
    await unlink(target).catch(() => undefined);
    throw ComputeError.is(error) ? error : systemError(OPERATION, error);
  } finally {
    await file.close();
  }
}

function missing({ program, package: name }: Mkfs): ComputeError {
  return new ComputeError(
    'UNSUPPORTED',
    `ephemeral disks are made by ${program}, which is not installed (Debian, Ubuntu: apt-get install ${name} util-linux; Fedora: dnf install ${name} util-linux)`,
    { operation: OPERATION, details: { program, package: name } },
  );
}
