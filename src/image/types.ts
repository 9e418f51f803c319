// The words of the image cache: what is asked of it, what it tells while it works, what it gives back.
import type { ImageMeta } from '../driver/model.js';
import type { GlanceOptions } from './glance-options.js';

/** Where log lines go; the logger of a ComputeNode fits. */
export interface ImageLogger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** How image servers, Glance and Keystone are talked to. TLS is always verified. */
export interface HttpSourceOptions {
  /** Milliseconds until the server's headers are there. Default 30000. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds between two pieces of the body. Default 30000. */
  readonly idleTimeoutMs?: number;
  /** Bytes a second that a server must send, on average over {@link rateWindowMs}; 0 takes any. Default 16384. */
  readonly leastBytesPerSecond?: number;
  /** Milliseconds of waiting for the server; what writing to disk takes does not count. Default 30000. */
  readonly rateWindowMs?: number;
  /**
   * Pauses before a download that failed for a passing reason goes on or begins again, one each; a connection that got
   * further starts them anew. Default 250, 1000, 4000.
   */
  readonly retryPausesMs?: readonly number[];
  /** Where a server may redirect to beside its own origin: `host` or `host:port` as the URL has it. Default nowhere. */
  readonly allowedRedirectHosts?: readonly string[];
  /** PEM file of the authorities that are trusted in place of those that Node.js knows. Absolute. */
  readonly caFile?: string;
}

export interface ImageLookupOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default 60000 (one minute). */
  readonly timeoutMs?: number | undefined;
}

/** Where images are registered. */
export interface ImageService extends AsyncDisposable {
  /**
   * What is declared of the image of that id; fit for a launch as it is. Rejects with `INVALID_ARGUMENT` for an id that
   * none can have, `IMAGE_NOT_FOUND`, `IMAGE_UNACCEPTABLE`, `IMAGE_DOWNLOAD_FAILED`, `UNAUTHORIZED`, `ABORTED`, `TIMEOUT`,
   * `CLOSED`.
   */
  getImage(id: string, options?: ImageLookupOptions): Promise<ImageMeta>;
  /** Ends connections and what is under way. Idempotent. */
  close(): Promise<void>;
}

export interface ImageCacheOptions {
  /** `_base` and `locks` are made below it where they are missing. Absolute. */
  readonly instancesPath: string;
  readonly logger?: ImageLogger;
  /** Images whose disk or whose file is larger are refused. Default 16 TiB. */
  readonly maxVirtualBytes?: number;
  /** Kept free on the file system of `instancesPath`. Default 256 MiB. */
  readonly reservedBytes?: number;
  /**
   * Bases of qcow2 images are raw (Nova's `force_raw_images`). With false they stay as they came, after the same checks;
   * formats of other hypervisors become raw all the same, and a base that stands is used as it is. Default true.
   */
  readonly forceRawImages?: boolean;
  /**
   * What the disks of new instances are (Nova's `[libvirt] images_type`): qcow2 overlays over their base, or raw copies of
   * it, which need it no more. Default `qcow2`.
   */
  readonly imagesType?: 'qcow2' | 'raw';
  /**
   * File system of new ephemeral disks, whatever the guest (Nova's `default_ephemeral_format`). Default: `vfat` where the
   * image's `os_type` is `windows`, else `ext4`.
   */
  readonly ephemeralFormat?: 'ext4' | 'vfat';
  /** Milliseconds for which nothing may have used a base before it goes. Default 86400000 (24 hours), Nova's. */
  readonly minAgeMs?: number;
  /** Bases and quarantine together take no more on the disk, in so far as they are unused: least recently used go first. Default no cap. */
  readonly maxBytes?: number;
  /** Each base is read again after so many milliseconds; 0: on demand only. Default 604800000 (7 days). */
  readonly scrubIntervalMs?: number;
  /** Default 16777216 (16 MiB). */
  readonly scrubBytesPerSecond?: number;
  readonly http?: HttpSourceOptions;
  /** For images whose source is `glance`; without it they are refused with INVALID_ARGUMENT. */
  readonly glance?: GlanceOptions;
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
  /** qcow2 where {@link ImageCacheOptions.forceRawImages} was false when it was made. */
  readonly format: 'raw' | 'qcow2';
  /** Of the disk in it; not always a multiple of 512. */
  readonly virtualSizeBytes: number;
  /** `hit`: it stood there, `fetched`: this call fetched it, `joined`: this call waited for another's fetch. */
  readonly how: 'hit' | 'fetched' | 'joined';
}

export interface BlankBaseOptions {
  readonly signal?: AbortSignal | undefined;
  /** For this caller; a making shared with others goes on without it. Default 600000 (ten minutes). */
  readonly timeoutMs?: number | undefined;
}

/** Nova's names of an instance's disks: root, ephemeral, swap, and the root disk of one that is rescued. */
export type DiskName = 'disk' | 'disk.local' | 'disk.swap' | 'disk.rescue';

export interface InstanceDiskOptions {
  /** Default `disk`, the root disk. */
  readonly name?: DiskName | `${DiskName}.rebuild` | undefined;
  readonly instanceUuid?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Of the wait for others who hold the base's lock. Default: none. */
  readonly timeoutMs?: number | undefined;
}

/** What {@link ImageCache.createInstanceDisk} made, in the instance's directory. */
export interface InstanceDisk {
  /** `<instanceDirectory>/<name>`, 0600. */
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  readonly virtualSizeBytes: number;
  /** What an overlay stands on; undefined for a raw copy. */
  readonly base: Pick<BaseImage, 'path' | 'format'> | undefined;
  /** `<instanceDirectory>/<name>.base`: a hard link that holds the base of an overlay while the directory stands. */
  readonly baseLink: string | undefined;
}
