// The disks that a flavor and an image give an instance: their bases from the cache, then one file each.
import type { SpawnOptions } from '../driver/compute-driver.js';
import type { Instance } from '../driver/model.js';
import type { ImageCache } from '../image/image-cache.js';
import type { BaseImage, DiskName } from '../image/types.js';
import type { DiskInfo, InstanceDisks } from './instance-disks.js';

const GIB = 1024 ** 3;

/** What one disk is made of; a size of 0 takes the base's. */
export interface DiskSource {
  readonly name: DiskName;
  readonly base: BaseImage;
  readonly sizeBytes: number;
}

/** That of the root disk first. */
export async function ensureBases(
  images: ImageCache,
  { image, flavor }: Instance,
  { signal, onProgress }: Pick<SpawnOptions, 'signal' | 'onProgress'>,
): Promise<[DiskSource, ...DiskSource[]]> {
  const sizeBytes = flavor.rootGb * GIB;
  const base = await images.ensureBase(image, {
    flavorRootBytes: sizeBytes,
    signal,
    onProgress: (progress) => onProgress?.({ step: 'image', ...progress }),
  });
  const sources: [DiskSource, ...DiskSource[]] = [{ name: 'disk', base, sizeBytes }];
  if (flavor.ephemeralGb > 0) {
    const osType = image.properties['os_type'];
    const blank = await images.ensureEphemeralBase(flavor.ephemeralGb, osType, { signal });
    sources.push({ name: 'disk.local', base: blank, sizeBytes: 0 });
  }
  if (flavor.swapMb > 0) {
    const blank = await images.ensureSwapBase(flavor.swapMb, { signal });
    sources.push({ name: 'disk.swap', base: blank, sizeBytes: 0 });
  }
  return sources;
}

/** One after the other: what fails is undone by the caller when no other is under way. `suffix` is put behind each name. */
export async function makeDisks(
  images: ImageCache,
  directory: string,
  sources: readonly DiskSource[],
  options: {
    readonly instanceUuid: string;
    readonly signal: AbortSignal | undefined;
    readonly suffix?: '.rebuild';
  },
): Promise<InstanceDisks> {
  const { instanceUuid, signal, suffix = '' } = options;
  const disks: { [name in DiskName]?: DiskInfo } = {};
  for (const { name, base: from, sizeBytes } of sources) {
    const file = `${name}${suffix}` as const;
    const disk = await images.createInstanceDisk(directory, from, sizeBytes, {
      name: file,
      instanceUuid,
      signal,
    });
    const { format, virtualSizeBytes, base } = disk;
    disks[name] = { format, virtualSizeBytes, base };
  }
  return disks;
}
