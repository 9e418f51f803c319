// A snapshot of an instance: the image that is made of its root disk, where it goes, and how far it is.
import type { ImageChecksum } from './model.js';

/** Where the image goes. */
export type SnapshotTarget =
  | {
      readonly type: 'glance';
      /** A UUID. Of a record without data that was made for this snapshot, as Nova's API does; with `create` of the one to be made. Default: one is made. */
      readonly imageId?: string;
      /** Make the record, and remove it again where the snapshot fails. Default: where there is no `imageId`. */
      readonly create?: boolean;
      /** Of a record that is made. Default `snapshot of <display name>`. */
      readonly name?: string;
    }
  /** A file of this host that does not exist yet, mode 0600. Absolute. Its name appears when it is whole. */
  | { readonly type: 'file'; readonly path: string };

/**
 * `copy`: what the guest has written is copied while it runs; `quiesce`: its file systems are frozen where they can be, and the copy ends;
 * `convert`: copy and base become one image; `upload`: that gets to where it is wanted. At rest it is the last two.
 */
export type SnapshotStep = 'copy' | 'quiesce' | 'convert' | 'upload';

export interface SnapshotProgress {
  readonly step: SnapshotStep;
  readonly doneBytes?: number;
  readonly totalBytes?: number;
}

export interface SnapshotResult {
  /** The image, where the target is Glance. */
  readonly imageId?: string;
  /** The file, where the target is one. */
  readonly path?: string;
  readonly format: 'qcow2' | 'raw';
  /** Of the image file. */
  readonly sizeBytes: number;
  /** Of the disk in it. */
  readonly virtualSizeBytes: number;
  readonly checksum: ImageChecksum;
  /** `live`: it ran, or was paused; `cold`: it was at rest. */
  readonly how: 'live' | 'cold';
  /** A live one's file systems were frozen by the agent in the guest at the moment that the image shows. */
  readonly quiesced: boolean;
  /** Milliseconds for which writes of the guest may have waited, at most: freezing, ending the copy and thawing. Its CPUs never stop. 0 at rest. */
  readonly pauseMs: number;
  /** Milliseconds spent in each step. */
  readonly stepsMs: Readonly<Record<SnapshotStep, number>>;
}
