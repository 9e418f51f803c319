// One disk of an instance: an overlay with a hold on its base, or a raw copy that needs none; whole or not at all.
import { basename, join } from 'node:path';
import { ComputeError } from '../driver/errors.js';
import { callNative } from '../native.js';
import { withBaseLock } from './cache-lock.js';
import type { CachePaths } from './cache-paths.js';
import type { ImageLayer } from './disk.js';
import type { BaseImage, InstanceDisk, InstanceDiskOptions } from './types.js';

const CLUSTER_BYTES = 65536;
const SECTOR_BYTES = 512;
const ENOENT = 2;
const TO_RAW = {
  format: 'raw',
  compression: 'none',
  clusterSizeBytes: CLUSTER_BYTES,
  threads: 0,
  sync: false,
} as const;

/** What a disk is made of. */
export type DiskBase = Pick<BaseImage, 'path' | 'format' | 'virtualSizeBytes'>;

export interface DiskContext {
  readonly paths: CachePaths;
  readonly maxVirtualBytes: number;
  readonly reservedBytes: number;
  readonly imagesType: 'qcow2' | 'raw';
}

export async function createInstanceDisk(
  context: DiskContext,
  directory: string,
  base: DiskBase,
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
  const name = options.name ?? 'disk';
  const path = join(directory, name);
  const { instanceUuid, signal, timeoutMs } = options;
  // Shared: disks of one base are made side by side; a base is removed under the exclusive lock only, so it cannot
  // go between the look at its link count and the link, nor while it is copied.
  const lock = { shared: true, signal, timeoutMs };
  return await withBaseLock(context.paths.lock(basename(base.path)), lock, async () => {
    try {
      if (context.imagesType === 'raw') return await copy(context, base, path, size, options);
      return await overlay(base, path, size, instanceUuid);
    } catch (error) {
      throw explainMissing(error, base.path, instanceUuid);
    }
  });
}

/** Without a signal: both calls take microseconds, and a dropped result could not be undone. */
async function overlay(
  base: DiskBase,
  path: string,
  size: number,
  instanceUuid: string | undefined,
): Promise<InstanceDisk> {
  const baseLink = `${path}.base`;
  const linked = await callNative((addon, id) => addon.linkFile(base.path, baseLink, id), {
    operation: 'hold on the base',
    instanceUuid,
  });
  const options = {
    backing: { path: base.path, format: base.format },
    virtualSizeBytes: size,
    clusterSizeBytes: CLUSTER_BYTES,
    compression: 'zlib',
  } as const;
  try {
    await callNative((addon, id) => addon.createQcow2(path, options, id), {
      operation: 'creation of the disk',
      instanceUuid,
    });
  } catch (error) {
    // A link that stood before belongs to the disk that stood before.
    if (linked) await remove(baseLink, instanceUuid);
    throw error;
  }
  return {
    path,
    format: 'qcow2',
    virtualSizeBytes: size,
    base: { path: base.path, format: base.format },
    baseLink,
  };
}

/** Nova's flat disk. A raw base is shared by reflink where the file system can. */
async function copy(
  context: DiskContext,
  base: DiskBase,
  path: string,
  size: number,
  { instanceUuid, signal }: InstanceDiskOptions,
): Promise<InstanceDisk> {
  const call = { operation: 'creation of the disk', instanceUuid, signal, waitOnAbort: true };
  await assertRoom(context, base.path, instanceUuid);
  // What fails natively leaves nothing, nor touches a disk that stood before.
  let made = false;
  try {
    await callNative(async (addon, id) => {
      if (base.format === 'raw') {
        const { virtualSizeBytes: maxBytes } = base;
        const options = { digest: '', maxBytes, sync: false, grownBytes: size } as const;
        await addon.copyFile(base.path, path, options, id);
      } else {
        const { maxVirtualBytes } = context;
        await addon.convertImage([base], path, { ...TO_RAW, maxVirtualBytes }, id);
      }
      made = true;
    }, call);
    if (base.format === 'qcow2') {
      await callNative((addon, id) => addon.growImage([{ path, format: 'raw' }], size, id), call);
    }
  } catch (error) {
    if (made) await remove(path, instanceUuid);
    throw error;
  }
  return { path, format: 'raw', virtualSizeBytes: size, base: undefined, baseLink: undefined };
}

/**
 * A copy of a disk that nothing has open, with a larger disk in it: whole and on the disk, or not at all. The image comes
 * first, what it stands on follows. Holes stay holes, and the file system shares the rest where it can.
 */
export async function copyGrown(
  context: Pick<DiskContext, 'paths' | 'reservedBytes'>,
  [top, ...below]: readonly [ImageLayer, ...ImageLayer[]],
  target: string,
  sizeBytes: number,
  { instanceUuid, signal }: Pick<InstanceDiskOptions, 'instanceUuid' | 'signal'>,
): Promise<void> {
  const call = { operation: 'copy of a disk', instanceUuid, signal, waitOnAbort: true };
  await assertRoom(context, top.path, instanceUuid);
  const stat = await callNative((addon, id) => addon.statFile(top.path, id), call);
  const options = { digest: '', maxBytes: stat?.sizeBytes ?? 0, sync: true } as const;
  try {
    await callNative((addon, id) => addon.copyFile(top.path, target, options, id), call);
    const layers = [{ ...top, path: target }, ...below];
    await callNative((addon, id) => addon.growImage(layers, sizeBytes, id), call);
  } catch (error) {
    await remove(target, instanceUuid);
    throw error;
  }
}

/** What the base takes is what its copy takes at first, or more, unless the file system shares it. */
async function assertRoom(
  { paths, reservedBytes }: Pick<DiskContext, 'paths' | 'reservedBytes'>,
  base: string,
  instanceUuid: string | undefined,
): Promise<void> {
  const call = { operation: 'creation of the disk', instanceUuid };
  const stat = await callNative((addon, id) => addon.statFile(base, id), call);
  const { availableBytes } = await callNative((addon, id) => addon.statFs(paths.instances, id), call);
  const room = Math.max(0, availableBytes - reservedBytes);
  if (!stat || stat.allocatedBytes <= room) return;
  throw new ComputeError(
    'NO_SPACE',
    `a copy of ${base} needs ${stat.allocatedBytes} bytes in ${paths.instances}, ${room} are free`,
    { ...call, details: { requiredBytes: stat.allocatedBytes, availableBytes: room } },
  );
}

async function remove(path: string, instanceUuid: string | undefined): Promise<void> {
  await callNative((addon, id) => addon.removeTree(path, id), { operation: 'undo', instanceUuid });
}

function explainMissing(error: unknown, base: string, instanceUuid: string | undefined): unknown {
  if (!ComputeError.is(error) || error.details['errno'] !== ENOENT) return error;
  return new ComputeError('IMAGE_NOT_FOUND', `the base ${base} or the instance's directory has gone`, {
    operation: 'creation of the disk',
    instanceUuid,
    retryable: true,
    cause: error,
  });
}
