// What all calls of the image engine take.

/** Default limit of a disk, as in the image cache: 16 TiB. */
export const MOST_BYTES: number = 16 * 1024 ** 4;

export interface ImageCallOptions {
  /** Ends the call with ABORTED, after what it made is undone. */
  readonly signal?: AbortSignal | undefined;
}

export interface ImageProgressOptions extends ImageCallOptions {
  /** Told a few times a second, in bytes of the disk. */
  readonly onProgress?: ((doneBytes: number) => void) | undefined;
}
