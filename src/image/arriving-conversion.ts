// A qcow2 image becomes a raw file while it is downloaded: what has arrived is placed, the rest when the image was verified.
import { callNative, type NativeArrivingConversion } from '../native.js';
import type { Arrival } from './source-request.js';

/** Between two looks at what has arrived: a look costs two crossings of threads and the start of others. */
const STEP_BYTES = 8 * 1024 ** 2;

export interface ArrivingConversionOptions {
  readonly imageId: string;
  /** The download. */
  readonly source: string;
  /** Must not exist; gone after a failure. */
  readonly target: string;
  readonly maxVirtualBytes: number;
  /** Bytes of the file system that download and target may take together before the image was found good. */
  readonly room: number;
  readonly signal: AbortSignal;
  /** Told once, as soon as the image's header is there; what it throws ends the download. */
  readonly onVirtualSize: (bytes: number) => void;
}

interface Rest {
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number) => void;
}

export class ArrivingConversion implements Arrival {
  readonly #options: ArrivingConversionOptions;
  #native: NativeArrivingConversion | undefined;
  #advancing: Promise<void> | undefined;
  #seen = 0;
  #virtualSizeBytes = 0;
  #sizeTold = false;

  constructor(options: ArrivingConversionOptions) {
    this.#options = options;
  }

  /** The download begins, maybe anew: `source` is a new file of `totalBytes`. Without a total nothing is done early. */
  async begin(totalBytes: number | undefined): Promise<void> {
    await this.abandon();
    if (totalBytes === undefined || totalBytes < STEP_BYTES) return;
    const { source, target, maxVirtualBytes, room } = this.#options;
    const options = {
      imageBytes: totalBytes,
      maxVirtualBytes,
      maxEarlyBytes: Math.max(0, room - totalBytes),
      threads: 0,
    };
    this.#native = await callNative(
      (addon, id) => addon.openArrivingConversion(source, target, options, id),
      this.#call(),
    );
  }

  /** So many bytes of `source` are written. Does not wait for what it starts; throws what `onVirtualSize` threw. */
  arrived(bytes: number): void {
    if (this.#virtualSizeBytes > 0 && !this.#sizeTold) {
      this.#sizeTold = true;
      this.#options.onVirtualSize(this.#virtualSizeBytes);
    }
    const native = this.#native;
    if (!native || this.#advancing || bytes - this.#seen < STEP_BYTES) return;
    this.#seen = bytes;
    this.#advancing = this.#advance(native, bytes);
  }

  /** The image is verified: false where nothing was begun and all is still to be done. */
  async finish({ signal, onProgress }: Rest): Promise<boolean> {
    await this.#advancing;
    const native = this.#native;
    if (!native) return false;
    await callNative((_addon, id) => native.finish(id), {
      ...this.#call(),
      signal,
      waitOnAbort: true,
      onProgress,
    });
    return true;
  }

  /** Nothing of it is left. Idempotent. */
  async abandon(): Promise<void> {
    const native = this.#native;
    this.#native = undefined;
    await this.#advancing;
    this.#seen = 0;
    // What comes next may be another image.
    this.#virtualSizeBytes = 0;
    this.#sizeTold = false;
    if (native) await callNative((_addon, id) => native.abandon(id), this.#call());
  }

  async #advance(native: NativeArrivingConversion, bytes: number): Promise<void> {
    try {
      this.#virtualSizeBytes = await callNative((_addon, id) => native.advance(bytes, id), {
        ...this.#call(),
        signal: this.#options.signal,
        waitOnAbort: true,
      });
    } catch {
      // Aborted, which the download sees by itself; or without a thread to run on: it is done later, or at the end.
    } finally {
      this.#advancing = undefined;
    }
  }

  #call(): { readonly operation: string } {
    return { operation: `conversion of image ${this.#options.imageId}` };
  }
}
