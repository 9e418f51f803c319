// What the addon tells of images and disks.

/** 0, or the id under which the call can be cancelled. */
export type CallId = number;

export interface NativeImageVerdict {
  /** As declared: `raw`, `iso`, `qcow2`, `vmdk`, `vhd`, `vhdx`, `vdi`, `qed`, `qcow` (version 1), `ploop` or `luks`. */
  readonly format: string;
  /** As QEMU reads it. */
  readonly virtualSizeBytes: number;
  readonly fileSizeBytes: number;
  /** A conversion to raw writes no more data than this. */
  readonly dataBytes: number;
  /** qcow2 only. */
  readonly version?: number;
  readonly clusterSizeBytes?: number;
  readonly snapshots?: number;
  readonly compression?: 'zlib' | 'zstd';
  /** Not closed properly: its reference counts may be stale (lazy refcounts), its data is not. */
  readonly dirty?: boolean;
  /** What libqcow said of it; undefined for other formats and for features that it cannot read. */
  readonly libqcow?: {
    readonly version: number;
    readonly virtualSizeBytes: number;
    readonly snapshots: number;
  };
}

/** One image of a disk; only the files that are named are opened. */
export interface NativeLayer {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
}

export interface NativeExtent {
  readonly offset: number;
  readonly bytes: number;
  readonly kind: 'data' | 'compressed' | 'zeros' | 'hole';
  /** Which image says so; 0 is the top. */
  readonly layer: number;
  /** data only. */
  readonly fileOffset?: number;
}

/** Safe for many calls at once. */
export interface NativeDisk {
  readonly sizeBytes: number;
  /** 64 MiB at most, on the disk. */
  read(offset: number, bytes: number, callId: CallId): Promise<Buffer>;
  /** From `offset` on, some thousand at a time; empty at the end of the disk. */
  map(offset: number, callId: CallId): Promise<NativeExtent[]>;
  /** Lays the disk out as an uncompressed, standalone qcow2 image. */
  openQcow2Stream(callId: CallId): Promise<NativeQcow2Stream>;
  /** Idempotent; calls that run end as if it were open. */
  close(): void;
}

export interface NativeQcow2Stream {
  readonly clusters: number;
  readonly clusterSizeBytes: number;
  /** `count` clusters of the image, 64 MiB at most. */
  read(first: number, count: number, callId: CallId): Promise<Buffer>;
}

/** The fields of `qemu-img info --output=json`, QEMU 7.2. Names that are not UTF-8 have U+FFFD in them. */
export interface NativeImageInfo {
  readonly filename: string;
  readonly format: 'raw' | 'qcow2';
  readonly 'virtual-size': number;
  /** What the file takes of its file system, without other files of the image. */
  readonly 'actual-size': number;
  readonly 'dirty-flag': boolean;
  readonly 'cluster-size'?: number;
  readonly encrypted?: true;
  readonly 'backing-filename'?: string;
  readonly 'full-backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
  readonly snapshots?: readonly {
    readonly id: string;
    readonly name: string;
    readonly 'vm-state-size': number;
    readonly 'date-sec': number;
    readonly 'date-nsec': number;
    readonly 'vm-clock-sec': number;
    readonly 'vm-clock-nsec': number;
    readonly icount?: number;
  }[];
  readonly 'format-specific'?: {
    readonly type: 'qcow2';
    readonly data: {
      readonly compat: '0.10' | '1.1';
      readonly 'compression-type': 'zlib' | 'zstd';
      readonly 'refcount-bits': number;
      /** These and what follows: version 1.1 only. */
      readonly 'lazy-refcounts'?: boolean;
      readonly corrupt?: boolean;
      readonly 'extended-l2'?: boolean;
      readonly 'data-file'?: string;
      readonly 'data-file-raw'?: boolean;
      readonly bitmaps?: readonly {
        readonly name: string;
        readonly granularity: number;
        readonly flags: readonly ('in-use' | 'auto')[];
      }[];
      /** Without what qemu-img tells of a LUKS header. */
      readonly encrypt?: { readonly format: 'aes' | 'luks' };
    };
  };
}

/** A conversion of a qcow2 image to raw while the image still arrives. */
export interface NativeArrivingConversion {
  /** So much of the image is there, from its start. Gives the size of the disk; 0 where it is not known yet, or never. */
  advance(arrivedBytes: number, callId: CallId): Promise<number>;
  /** Validates the image, which is there whole, and places the rest: not synced. The target is gone after a failure. */
  finish(callId: CallId): Promise<{ readonly virtualSizeBytes: number; readonly writtenBytes: number }>;
  /** Removes the target; idempotent. */
  abandon(callId: CallId): Promise<void>;
}

export interface NativeFileSink {
  write(chunk: Uint8Array, callId: CallId): Promise<void>;
  /** fsyncs (with `sync`), closes; gives bytes written and the digest in hexadecimal ('' where none was asked for). */
  finish(callId: CallId): Promise<{ readonly bytes: number; readonly digest: string }>;
  /** Closes without a word; idempotent. Does not remove the file. */
  abandon(callId: CallId): Promise<void>;
}

/** Hashes a file in pieces. Safe for many calls at once, which take turns. */
export interface NativeFileDigest {
  readonly sizeBytes: number;
  readonly inode: number;
  /** Goes on for about so many bytes of reading; `value`, in hexadecimal, once the end is reached. */
  advance(
    bytes: number,
    callId: CallId,
  ): Promise<{
    /** Bytes that were read, and a sixteenth of the zeros that were hashed without. */
    readonly workBytes: number;
    readonly doneBytes: number;
    readonly value?: string;
  }>;
  /** Idempotent; a call that runs ends as if it were open. */
  close(): void;
}
