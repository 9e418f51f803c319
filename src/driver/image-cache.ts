// What an image cache tells of its work: events, and counters since the driver was made.

/** One that a reader of events may want to act on; what happens at every launch is counted only. */
export type ImageCacheEvent =
  | {
      readonly kind: 'progress';
      readonly imageId: string;
      /** `waiting`, `downloading`, `verifying`, `inspecting`, `converting`, `publishing`. */
      readonly activity: string;
      readonly doneBytes?: number;
      readonly totalBytes?: number;
    }
  | {
      readonly kind: 'fetched';
      readonly imageId: string;
      /** Of the image as it came. */
      readonly bytes: number;
      readonly virtualSizeBytes: number;
      readonly milliseconds: number;
    }
  | {
      readonly kind: 'fetch-failed';
      readonly imageId: string;
      /** An ErrorCode. */
      readonly code: string;
      /** Of the inspection, where that refused it. */
      readonly rule?: string;
      readonly milliseconds: number;
    }
  | {
      readonly kind: 'evicted';
      readonly base: string;
      readonly imageId: string | undefined;
      readonly reason: 'age' | 'bytes' | 'removed';
      readonly bytes: number;
    }
  | {
      readonly kind: 'scrubbed';
      readonly base: string;
      readonly imageId: string | undefined;
      readonly verdict: 'sound' | 'damaged';
      readonly milliseconds: number;
    }
  | {
      /** Found by a scrub, by its length, or by a read error. */
      readonly kind: 'damaged';
      readonly base: string;
      readonly imageId: string | undefined;
      /** Directories of the instances that stand on it: their uuids. */
      readonly instances: readonly string[];
    }
  | {
      readonly kind: 'quarantined';
      readonly base: string;
      readonly imageId: string | undefined;
      readonly path: string;
    }
  | {
      /** A sound copy took the place of a damaged base; its instances use it from their next start on. */
      readonly kind: 'healed';
      readonly base: string;
      readonly imageId: string | undefined;
    }
  | {
      readonly kind: 'pass';
      readonly bases: number;
      readonly inUse: number;
      readonly evicted: number;
      readonly freedBytes: number;
      readonly milliseconds: number;
    };

/** A snapshot. Bytes and counts stay below 2^53 by their nature. */
export interface ImageCacheMetrics {
  /** Launches and prefetches that found their base, fetched it, or waited for another's fetch. */
  readonly hits: number;
  readonly misses: number;
  readonly joins: number;
  readonly failures: number;
  /** Of images as they came. */
  readonly fetchedBytes: number;
  /** From the lock to the published base, of fetches that succeeded. */
  readonly fetchSeconds: number;
  /** For locks that another process had. */
  readonly waitSeconds: number;
  /** Fetches under way just now, and those of them that wait for another process. */
  readonly fetching: number;
  readonly waiting: number;
  /** Inspections of what was fetched: accepted by format, refused by rule. */
  readonly accepted: Readonly<Record<string, number>>;
  readonly refused: Readonly<Record<string, number>>;
  readonly passes: number;
  readonly evictions: number;
  readonly evictedBytes: number;
  readonly scrubs: number;
  readonly scrubbedBytes: number;
  readonly damaged: number;
  readonly quarantines: number;
  readonly healed: number;
}

/** Before anything has happened. */
export const NO_METRICS: ImageCacheMetrics = {
  hits: 0,
  misses: 0,
  joins: 0,
  failures: 0,
  fetchedBytes: 0,
  fetchSeconds: 0,
  waitSeconds: 0,
  fetching: 0,
  waiting: 0,
  accepted: {},
  refused: {},
  passes: 0,
  evictions: 0,
  evictedBytes: 0,
  scrubs: 0,
  scrubbedBytes: 0,
  damaged: 0,
  quarantines: 0,
  healed: 0,
};
