// The words of the image cache: what is asked of it, what it tells while it works, what it gives back.

/** Where log lines go; the logger of a ComputeNode fits. */
export interface ImageLogger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface HttpSourceOptions {
  /** Milliseconds until the server's headers are there. Default 30000. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds between two pieces of the body. Default 30000. */
  readonly idleTimeoutMs?: number;
  /** Pauses before a download that failed for a passing reason is tried again, one each. Default 250, 1000, 4000. */
  readonly retryPausesMs?: readonly number[];
}

export interface ImageCacheOptions {
  /** `_base` and `locks` are made below it where they are missing. Absolute. */
  readonly instancesPath: string;
  readonly logger?: ImageLogger;
  /** Images whose disk or whose file is larger are refused. Default 16 TiB. */
  readonly maxVirtualBytes?: number;
  /** Kept free on the file system of `instancesPath`. Default 256 MiB. */
  readonly reservedBytes?: number;
  readonly http?: HttpSourceOptions;
}

export type ImageActivity =
  | 'waiting'
  | 'downloading'
  | 'verifying'
  | 'inspecting'
  | 'converting'
  | 'publishing';

export interface ImageProgress {
  readonly activity: ImageActivity;
  readonly doneBytes?: number;
  readonly totalBytes?: number;
}

export interface EnsureBaseOptions {
  /** Size of the root disk that will stand on the base; 0 takes the image's own size, whatever it is. */
  readonly flavorRootBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** For this caller; a fetch shared with others goes on without it. Default 600000 (ten minutes). */
  readonly timeoutMs?: number | undefined;
  /** Called on the event loop, at most about ten times a second; what it throws is logged and dropped. */
  readonly onProgress?: ((progress: ImageProgress) => void) | undefined;
}

/** A base that stands in the cache. */
export interface BaseImage {
  /** Absolute: `<instances_path>/_base/<sha1(image id)>`. */
  readonly path: string;
  readonly format: 'raw';
  /** Length of the base; not always a multiple of 512. */
  readonly virtualSizeBytes: number;
  /** `hit`: it stood there, `fetched`: this call fetched it, `joined`: this call waited for another's fetch. */
  readonly how: 'hit' | 'fetched' | 'joined';
}

export interface InstanceDiskOptions {
  readonly instanceUuid?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** What {@link ImageCache.createInstanceDisk} made, in the instance's directory. */
export interface InstanceDisk {
  /** `<instanceDirectory>/disk`, qcow2, 0600. */
  readonly path: string;
  readonly format: 'qcow2';
  readonly virtualSizeBytes: number;
  /** `<instanceDirectory>/disk.base`: a hard link that holds the base while the directory stands. */
  readonly baseLink: string;
}
