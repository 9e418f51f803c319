// One raw base file per image, fetched once by however many ask, and the overlays that stand on it.
import type { ImageMeta } from '../driver/model.js';
import type {
  BaseImage,
  EnsureBaseOptions,
  ImageCacheOptions,
  InstanceDisk,
  InstanceDiskOptions,
} from './types.js';

export declare class ImageCache {
  constructor(options: ImageCacheOptions);
  /** Makes the directories and removes what killed processes left in `_base/.tmp`. Call once, before anything else. */
  recover(options?: { readonly signal?: AbortSignal }): Promise<{ readonly removed: readonly string[] }>;
  /** The base of that image: fetched, verified, inspected and converted where it is not there yet. */
  ensureBase(image: ImageMeta, options: EnsureBaseOptions): Promise<BaseImage>;
  /**
   * Hard-links the base into the directory, then writes the overlay `disk`. `sizeBytes` 0 takes the base's size.
   * On failure neither is left.
   */
  createInstanceDisk(
    instanceDirectory: string,
    base: Pick<BaseImage, 'path' | 'virtualSizeBytes'>,
    sizeBytes: number,
    options?: InstanceDiskOptions,
  ): Promise<InstanceDisk>;
}
