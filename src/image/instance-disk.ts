// An instance's disk: a hold on the base, then an overlay over it; both or neither.
import { basename, join } from 'node:path';
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
import { withBaseLock } from './cache-lock.js';
import type { CachePaths } from './cache-paths.js';
import type { BaseImage, InstanceDisk, InstanceDiskOptions } from './types.js';

const CLUSTER_BYTES = 65536;
const SECTOR_BYTES = 512;
const ENOENT = 2;

export async function createInstanceDisk(
  paths: CachePaths,
  directory: string,
  base: Pick<BaseImage, 'path' | 'virtualSizeBytes'>,
  sizeBytes: number,
  options: InstanceDiskOptions,
): Promise<InstanceDisk> {
  const size = Math.ceil((sizeBytes === 0 ? base.virtualSizeBytes : sizeBytes) / SECTOR_BYTES) * SECTOR_BYTES;
  if (size < base.virtualSizeBytes) {
    throw new ComputeError(
      'FLAVOR_DISK_TOO_SMALL',
      `a disk of ${size} bytes is smaller than its base ${base.path}`,
      {
        instanceUuid: options.instanceUuid,
        details: { requiredBytes: base.virtualSizeBytes, flavorRootBytes: size },
      },
    );
  }
  const disk: InstanceDisk = {
    path: join(directory, 'disk'),
    format: 'qcow2',
    virtualSizeBytes: size,
    baseLink: join(directory, 'disk.base'),
  };
  // Shared: overlays of one base are made side by side; a base is removed under the exclusive lock only, so it cannot
  // go between the look at its link count and this link.
  const lock = { shared: true, signal: options.signal, timeoutMs: options.timeoutMs };
  await withBaseLock(paths.lock(basename(base.path)), lock, () =>
    linkAndWrite(disk, base.path, options.instanceUuid),
  );
  return disk;
}

/** Without a signal from here on: both calls take microseconds, and a dropped result could not be undone. */
async function linkAndWrite(
  disk: InstanceDisk,
  base: string,
  instanceUuid: string | undefined,
): Promise<void> {
  const linked = await callNative((addon, id) => addon.linkFile(base, disk.baseLink, id), {
    operation: 'hold on the base',
    instanceUuid,
  }).catch((error: unknown) => {
    throw explainLink(error, base, instanceUuid);
  });
  try {
    await callNative(
      (addon, id) =>
        addon.createQcow2(
          disk.path,
          {
            backing: { path: base, format: 'raw' },
            virtualSizeBytes: disk.virtualSizeBytes,
            clusterSizeBytes: CLUSTER_BYTES,
            compression: 'zlib',
          },
          id,
        ),
      { operation: 'creation of the disk', instanceUuid },
    );
  } catch (error) {
    // A link that stood before belongs to the disk that stood before.
    if (linked) {
      await callNative((addon, id) => addon.removeTree(disk.baseLink, id), {
        operation: 'undo',
        instanceUuid,
      });
    }
    throw error;
  }
}

function explainLink(error: unknown, base: string, instanceUuid: string | undefined): unknown {
  if (!ComputeError.is(error) || error.details['errno'] !== ENOENT) return error;
  return new ComputeError('IMAGE_NOT_FOUND', `the base ${base} or the instance's directory has gone`, {
    operation: 'creation of the disk',
    instanceUuid,
    retryable: true,
    cause: error,
  });
}
