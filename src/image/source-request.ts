// What the cache asks of a source of image bytes, and what it gets.
import type { ImageMeta } from '../driver/model.js';
import type { HttpSourceOptions, ImageLogger, ImageProgress } from './types.js';

export type DigestAlgorithm = '' | 'md5' | 'sha256' | 'sha512';

/** Who is told how a download gets on. */
export interface Arrival {
  /** An empty file stands as the target, of the full length where that is known. Once more where a download begins anew. */
  begin(totalBytes: number | undefined): Promise<void>;
  /** So many bytes of it are written; what this throws ends the download. */
  arrived(bytes: number): void;
}

/** To bring an image into a new file. */
export interface SourceRequest {
  readonly image: ImageMeta;
  /** Must not exist. Left as it is on failure: the caller removes it. */
  readonly target: string;
  readonly digest: DigestAlgorithm;
  readonly maxBytes: number;
  /** fsync at the end. */
  readonly sync: boolean;
  readonly signal: AbortSignal;
  readonly http: HttpSourceOptions;
  readonly logger: ImageLogger;
  readonly report: (progress: ImageProgress) => void;
  /** Of a download; a local file arrives at once. */
  readonly arrival?: Arrival | undefined;
  /** Called before the first byte is written, where the size is known; what it throws ends the fetch. */
  readonly onSize: (size: { readonly bytes: number; readonly storedBytes: number }) => Promise<void>;
}

export interface SourceResult {
  readonly bytes: number;
  /** Hexadecimal, '' where none was asked for. */
  readonly digest: string;
}
