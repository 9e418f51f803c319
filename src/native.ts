// The one place that loads the addon: its typed seam, its loader, and what to install where it cannot be loaded.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { ComputeError } from './driver/errors.js';
import type { NativeDeviceEvent, NativeDomainDevices } from './native-devices.js';
import type { NativeDomainCalls } from './native-domain.js';
import { fromNative } from './native-error.js';
import type { NativeGuestEvent } from './native-events.js';
import type {
  CallId,
  NativeArrivingConversion,
  NativeDisk,
  NativeFileDigest,
  NativeFileSink,
  NativeImageInfo,
  NativeImageVerdict,
  NativeLayer,
} from './native-image.js';
import type { NativeNetwork } from './native-network.js';
import type { NativeConnectionFigures, NativeFileFigures } from './native-usage.js';

export type * from './native-devices.js';
export type * from './native-domain.js';
export type * from './native-events.js';
export type * from './native-image.js';
export type * from './native-network.js';
export type * from './native-usage.js';

export interface NativeFileStatus {
  readonly type: 'file' | 'directory' | 'other';
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  readonly inode: number;
  readonly mtimeMs: number;
  readonly mode: number;
  readonly uid: number;
  readonly links: number;
}

export interface NativeDirectoryEntry extends NativeFileStatus {
  readonly name: string;
  readonly content: string;
}

export interface NativeNodeInfo {
  readonly model: string;
  readonly memoryKib: number;
  readonly cpus: number;
  readonly mhz: number;
  readonly numaNodes: number;
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

export interface NativeDomainInfo {
  readonly id: number;
  /** virDomainState. */
  readonly state: number;
  readonly maxMemoryKib: number;
  readonly memoryKib: number;
  readonly vcpus: number;
  readonly cpuTimeNs: bigint;
  /** Shut off, with its memory on disk. */
  readonly saved: boolean;
}

export interface NativeDomainRecord {
  readonly uuid: string;
  readonly name: string;
  readonly id: number;
  readonly state: number;
  /** virDomain*Reason of that state. */
  readonly reason: number;
  /** Carries the metadata element of the namespace that was asked for. */
  readonly ours: boolean;
  /** Shut off, with its memory on disk. */
  readonly saved: boolean;
}

/** virDomainEventID by name, with the numbers libvirt gave. */
export type NativeEvent =
  | {
      readonly type: 'lifecycle';
      readonly uuid: string;
      readonly name: string;
      readonly event: number;
      readonly detail: number;
      /** Of the running domain; -1 when it is not running. */
      readonly id: number;
      readonly timestamp: number;
    }
  | { readonly type: 'reboot'; readonly uuid: string; readonly name: string; readonly timestamp: number }
  | NativeDeviceEvent
  | NativeGuestEvent
  /** virConnectCloseReason. */
  | { readonly type: 'close'; readonly reason: number; readonly timestamp: number }
  /** The native buffer was full; this many events were dropped. */
  | { readonly type: 'gap'; readonly count: number; readonly timestamp: number };

export interface NativeDomain extends NativeDomainCalls, NativeDomainDevices {
  readonly uuid: string;
  readonly name: string;
  start(flags: number, callId: CallId): Promise<void>;
  destroy(flags: number, callId: CallId): Promise<void>;
  shutdown(flags: number, callId: CallId): Promise<void>;
  reboot(flags: number, callId: CallId): Promise<void>;
  reset(callId: CallId): Promise<void>;
  suspend(callId: CallId): Promise<void>;
  resume(callId: CallId): Promise<void>;
  undefine(flags: number, callId: CallId): Promise<void>;
  info(callId: CallId): Promise<NativeDomainInfo>;
  xml(flags: number, callId: CallId): Promise<string>;
}

export interface NativeConnection extends NativeConnectionFigures {
  readonly uri: string;
  define(xml: string, flags: number, callId: CallId): Promise<NativeDomain>;
  lookup(uuid: string, callId: CallId): Promise<NativeDomain>;
  list(flags: number, metadataUri: string, callId: CallId): Promise<NativeDomainRecord[]>;
  nodeInfo(callId: CallId): Promise<NativeNodeInfo>;
  capabilities(callId: CallId): Promise<string>;
  domainCapabilities(
    emulator: string,
    arch: string,
    machine: string,
    virtType: string,
    callId: CallId,
  ): Promise<string>;
  /** Rejects where the connection has no driver for network filters. */
  hasNetworkFilter(name: string, callId: CallId): Promise<boolean>;
  hostname(callId: CallId): Promise<string>;
  /** Version of the hypervisor and of the libvirt on the other side, as major * 1000000 + minor * 1000 + release. */
  versions(callId: CallId): Promise<{ readonly hypervisor: number; readonly libvirt: number }>;
  /** Asks the other side, apart from all other calls. */
  isAlive(callId: CallId): Promise<boolean>;
  /** One listener at a time; called with batches, in order. The subscription does not keep the process alive. */
  subscribe(listener: (events: NativeEvent[]) => void, callId: CallId): Promise<void>;
  /** Idempotent. Refuses new calls at once, resolves when running ones have ended. */
  close(callId: CallId): Promise<void>;
}

export interface NativeConnectOptions {
  /** Adopt and reap daemonised QEMU processes (embedded connections). */
  readonly reapOrphans: boolean;
  /** Where libvirt's own warnings go instead of stderr ('' leaves them); only the first open of a process decides. */
  readonly logFile: string;
}

export interface NativeLaneStatistics {
  readonly lane: 'start' | 'wait' | 'bulk' | 'probe' | 'pulse' | 'file';
  readonly queued: number;
  readonly running: number;
  readonly threads: number;
  readonly completed: number;
}

export interface NativeFileLock {
  /** Idempotent; the file stays. Released by the kernel when the process dies. */
  release(callId: CallId): Promise<void>;
}

export interface NativeStatFs {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly availableBytes: number;
}

export interface NativeAddon extends NativeNetwork, NativeFileFigures {
  /** libvirt this addon runs with, as a number (virGetVersion). */
  readonly libvirtVersion: () => number;
  readonly libqcowVersion: () => string;
  cancel(callId: CallId): void;
  /** How far a running call is, in the unit that its function names; 0 where it tells nothing. */
  progress(callId: CallId): number;
  executorStatistics(): NativeLaneStatistics[];
  openConnection(uri: string, options: NativeConnectOptions, callId: CallId): Promise<NativeConnection>;

  /** Detects, validates and, for qcow, lets libqcow identify. Rejects with IMAGE_INVALID and a `rule`. */
  inspectImage(
    path: string,
    format: string,
    maxVirtualBytes: number,
    callId: CallId,
  ): Promise<NativeImageVerdict>;
  /**
   * The same where the secret is known: accepts what is encrypted by LUKS, `qcow2` or `luks`, and nothing else (rules
   * `encrypted`, `not-encrypted`).
   */
  inspectEncryptedImage(
    path: string,
    format: string,
    maxVirtualBytes: number,
    callId: CallId,
  ): Promise<NativeImageVerdict>;
  /**
   * What a file that is believed to be of that format says of itself. Reads its header and lists only, opens no other
   * file, and judges nothing: inspectImage does.
   */
  imageInfo(path: string, format: 'raw' | 'qcow2', callId: CallId): Promise<NativeImageInfo>;
  /** Writes an empty qcow2 v3, an overlay with `backing`, in one pass; O_EXCL, 0600. */
  createQcow2(
    path: string,
    options: {
      readonly backing?: { readonly path: string; readonly format: 'raw' | 'qcow2' } | undefined;
      readonly virtualSizeBytes: number;
      readonly clusterSizeBytes: number;
      readonly compression: 'zlib' | 'zstd';
    },
    callId: CallId,
  ): Promise<void>;
  /**
   * Makes the disk in an image larger, in place, with QEMU locked out: what `qemu-img resize` does. A crash leaves the
   * old size or the new one. The image, and those below it where it has any. Rejects with IMAGE_INVALID, rule `in-use`
   * where the image is open, `shrink` for less.
   */
  growImage(
    layers: readonly NativeLayer[],
    virtualSizeBytes: number,
    callId: CallId,
  ): Promise<{ readonly oldVirtualSizeBytes: number; readonly virtualSizeBytes: number }>;
  /** Writes an empty swap area of Linux into a new sparse file: O_EXCL, 0600, not synced. */
  createSwapArea(path: string, bytes: number, callId: CallId): Promise<void>;
  /** Copies a regular file: O_EXCL, 0600, sparse, reflink where there is one, fsync at the end with `sync`. */
  copyFile(
    source: string,
    target: string,
    options: {
      readonly digest: '' | 'md5' | 'sha256' | 'sha512';
      readonly maxBytes: number;
      readonly sync: boolean;
      /** Length of the target where it is to be larger than the source. */
      readonly grownBytes?: number;
    },
    callId: CallId,
  ): Promise<{ readonly bytes: number; readonly digest: string }>;
  /** Opens a new file for a download: O_EXCL, 0600. */
  openFileSink(
    path: string,
    options: {
      readonly digest: '' | 'md5' | 'sha256' | 'sha512';
      readonly maxBytes: number;
      readonly sync: boolean;
      /** The file's length from its first byte on; 0 where it is not known. */
      readonly expectedBytes: number;
    },
    callId: CallId,
  ): Promise<NativeFileSink>;
  /** Proves the length of a finished file, gives it its mode, fsyncs it. IMAGE_INVALID `truncated` for another length. */
  sealFile(path: string, bytes: number, mode: number, callId: CallId): Promise<void>;
  /** Makes a hard link; false where `target` is a name of the same file already. Never follows a symbolic link. */
  linkFile(source: string, target: string, callId: CallId): Promise<boolean>;
  /**
   * Validates the images of a disk, from the top down, and writes what its guest sees: O_EXCL, 0600, in parallel, fsync
   * at the end with `sync`. `threads` 0 chooses. The call's progress is in bytes of the disk.
   */
  convertImage(
    layers: readonly NativeLayer[],
    target: string,
    options: {
      readonly format: 'raw' | 'qcow2';
      /** qcow2 only, as is `clusterSizeBytes`. */
      readonly compression: 'none' | 'zlib' | 'zstd';
      readonly clusterSizeBytes: number;
      readonly maxVirtualBytes: number;
      readonly threads: number;
      readonly sync: boolean;
      /** Keeps QEMU from the top image meanwhile; IMAGE_UNACCEPTABLE `in-use` where it has it open. Default false. */
      readonly lock?: boolean;
    },
    callId: CallId,
  ): Promise<{
    readonly virtualSizeBytes: number;
    /** raw: what is no hole. qcow2: the length of the file. */
    readonly writtenBytes: number;
  }>;
  /** `source` has its full length and is filled from its start; `target`: O_EXCL, 0600. */
  openArrivingConversion(
    source: string,
    target: string,
    options: {
      readonly imageBytes: number;
      readonly maxVirtualBytes: number;
      /** What may be placed before the image was found good. */
      readonly maxEarlyBytes: number;
      readonly threads: number;
    },
    callId: CallId,
  ): Promise<NativeArrivingConversion>;
  /** Opens and validates the images of a disk, from the top down, for random reads. */
  openDisk(layers: readonly NativeLayer[], maxVirtualBytes: number, callId: CallId): Promise<NativeDisk>;
  digestFile(path: string, algorithm: 'md5' | 'sha256' | 'sha512', callId: CallId): Promise<string>;
  /** `direct`: past the page cache where the file system can. `sparse-sha256` is that of native/image/file_digest.h. */
  openFileDigest(
    path: string,
    options: {
      readonly algorithm: 'md5' | 'sha256' | 'sha512' | 'sparse-sha256';
      readonly direct: boolean;
    },
    callId: CallId,
  ): Promise<NativeFileDigest>;

  makeDirectory(path: string, mode: number, callId: CallId): Promise<boolean>;
  /** Moves what is old of a log that another process appends to into `<path>.0`; false where it is within its bound. */
  rotateLog(path: string, maxBytes: number, callId: CallId): Promise<boolean>;
  /** Writes whole: 'create' fails where it exists, 'replace' goes through a temporary name and rename, 'append' adds. */
  writeFile(
    path: string,
    data: string | Uint8Array,
    options: { readonly how: 'create' | 'replace' | 'append'; readonly mode: number; readonly sync: boolean },
    callId: CallId,
  ): Promise<void>;
  /** The last `maxBytes` of a file; O_NOFOLLOW. */
  readFile(path: string, maxBytes: number, callId: CallId): Promise<Buffer>;
  listDirectory(path: string, callId: CallId): Promise<string[]>;
  /** Each entry, sorted by name; with what it holds where it is a file of up to `maxBytes` of UTF-8, else ''. */
  readDirectory(path: string, maxBytes: number, callId: CallId): Promise<NativeDirectoryEntry[]>;
  /** Links or renames; fsyncs the directory when `sync`. */
  publishFile(source: string, target: string, sync: boolean, callId: CallId): Promise<void>;
  /** undefined where there is nothing. Never follows a symbolic link. */
  statFile(path: string, callId: CallId): Promise<NativeFileStatus | undefined>;
  statFs(path: string, callId: CallId): Promise<NativeStatFs>;
  /** A descriptor of a file in memory that has no name and holds the secret; no child inherits it. The caller closes it. */
  makeSecretFile(secret: Uint8Array, callId: CallId): Promise<number>;
  /** Removes a file or a tree without following links; success where there is nothing. */
  removeTree(path: string, callId: CallId): Promise<void>;
  setOwner(path: string, uid: number, gid: number, callId: CallId): Promise<void>;
  /** flock on a file that is made where missing and never unlinked. With `wait` false, undefined when it is taken. */
  lockFile(
    path: string,
    options: { readonly shared: boolean; readonly wait: boolean },
    callId: CallId,
  ): Promise<NativeFileLock | undefined>;
}

/** Libraries whose absence stops the addon from loading, with the packages that bring them. */
const LIBRARY_PACKAGES: readonly (readonly [RegExp, string, string])[] = [
  [/libvirt/, 'libvirt0', 'libvirt-libs'],
  [/libqcow/, 'libqcow1', 'libqcow'],
  [/libnl/, 'libnl-route-3-200', 'libnl3'],
  [/libnettle/, 'libnettle8', 'nettle'],
  [/libdeflate/, 'libdeflate0', 'libdeflate'],
  [/libzstd/, 'libzstd1', 'libzstd'],
];

let addon: NativeAddon | undefined;

/** The addon; loaded at the first call. Throws HOST_UNSUITABLE with what to install where it cannot be loaded. */
export function native(): NativeAddon {
  if (addon) return addon;
  if (process.platform !== 'linux') {
    throw new ComputeError(
      'HOST_UNSUITABLE',
      `node-compute's libvirt driver needs Linux, this is ${process.platform}; the fake driver works anywhere`,
    );
  }
  const require = createRequire(import.meta.url);
  const candidates = [
    ...(process.env['NODE_COMPUTE_ADDON'] ? [process.env['NODE_COMPUTE_ADDON']] : []),
    fileURLToPath(new URL('../build/Release/node_compute.node', import.meta.url)),
    fileURLToPath(new URL(`../prebuilds/linux-${process.arch}/node_compute.node`, import.meta.url)),
  ];
  const failures: string[] = [];
  for (const path of candidates) {
    try {
      addon = require(path) as NativeAddon;
      return addon;
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      const library = LIBRARY_PACKAGES.find(
        ([pattern]) => pattern.test(message) && !message.includes('Cannot find module'),
      );
      if (library) {
        throw new ComputeError(
          'HOST_UNSUITABLE',
          `a library of the addon is missing (${message}). Debian, Ubuntu: apt-get install ${library[1]}; Fedora: dnf install ${library[2]}`,
          { cause },
        );
      }
      failures.push(message.split('\n')[0] ?? message);
    }
  }
  throw new ComputeError(
    'HOST_UNSUITABLE',
    `the addon node_compute.node was not found or does not load; in a clone, run: npm run build:addon (${failures.join('; ')})`,
  );
}

export interface NativeCallOptions {
  readonly operation: string;
  readonly instanceUuid?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /**
   * A call whose effect must be known before it can be undone: when the signal fires, a queued one is dropped and a
   * running one is waited for before the rejection. The deadline still rejects at once.
   */
  readonly waitOnAbort?: boolean | undefined;
  /** Told a few times a second how far the call is, in the unit that the function names. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

const PROGRESS_INTERVAL_MS = 200;

let lastCallId = 0;

/**
 * Runs one native call under a signal and a deadline and turns its error into a ComputeError.
 * When the signal fires or the deadline passes, it rejects at once; what the native side then still returns is dropped.
 */
export async function callNative<T>(
  call: (addon: NativeAddon, callId: CallId) => Promise<T>,
  options: NativeCallOptions,
): Promise<T> {
  const { signal, timeoutMs, onProgress } = options;
  if (signal?.aborted) throw aborted(options);
  const addon = native();
  if (signal === undefined && timeoutMs === undefined && onProgress === undefined) {
    try {
      return await call(addon, 0);
    } catch (error) {
      throw fromNative(error, options);
    }
  }
  lastCallId = lastCallId >= 0x7fffffff ? 1 : lastCallId + 1;
  const callId = lastCallId;
  return await new Promise<T>((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const progress =
      onProgress && setInterval(() => onProgress(addon.progress(callId)), PROGRESS_INTERVAL_MS);
    const settle = (): void => {
      clearTimeout(timer);
      clearInterval(progress);
      signal?.removeEventListener('abort', onAbort);
    };
    const onAbort = (): void => {
      addon.cancel(callId);
      if (options.waitOnAbort) return;
      settle();
      reject(aborted(options));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    if (timeoutMs !== undefined && timeoutMs !== Number.POSITIVE_INFINITY) {
      timer = setTimeout(() => {
        settle();
        addon.cancel(callId);
        reject(
          new ComputeError('TIMEOUT', `${options.operation} did not finish within ${timeoutMs} ms`, {
            ...options,
            retryable: true,
          }),
        );
      }, timeoutMs);
    }
    call(addon, callId).then(
      (value) => {
        settle();
        if (options.waitOnAbort && signal?.aborted) reject(aborted(options));
        else resolve(value);
      },
      (error: unknown) => {
        settle();
        reject(fromNative(error, options));
      },
    );
  });
}

/** As {@link callNative} with `waitOnAbort`: for short changes of files, which whoever undoes them must find made or not made. */
export async function changeFiles<T>(
  call: (addon: NativeAddon, callId: CallId) => Promise<T>,
  options: Omit<NativeCallOptions, 'waitOnAbort'>,
): Promise<T> {
  return await callNative(call, { ...options, waitOnAbort: true });
}

function aborted(options: NativeCallOptions): ComputeError {
  return new ComputeError('ABORTED', `${options.operation} was aborted`, {
    ...options,
    cause: options.signal?.reason,
  });
}
