// What stands in the cache, and whether to trust it: records are read once and believed while nothing changed.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { callNative, type NativeFileStatus } from '../native.js';
import { assertSameImage, type BaseRecord, INSPECTOR_VERSION, readRecord } from './base-record.js';
import type { CachePaths } from './cache-paths.js';

export interface Standing {
  readonly stat: NativeFileStatus;
  /** undefined where there is none that can be understood. */
  readonly record: BaseRecord | undefined;
}

interface Known {
  readonly record: BaseRecord;
  readonly base: NativeFileStatus;
  /** Another process may have found the base damaged: it then wrote a new record. */
  readonly recordFile: NativeFileStatus;
}

export class BaseLookup {
  readonly #paths: CachePaths;
  readonly #known = new Map<string, Known>();

  constructor(paths: CachePaths) {
    this.#paths = paths;
  }

  /** The base and its record; undefined where there is no base. Rejects with `SYSTEM` where something else has its name. */
  async find(key: string): Promise<Standing | undefined> {
    const path = this.#paths.base(key);
    const [stat, recordFile] = await Promise.all([statOf(path), statOf(this.#paths.record(key))]);
    if (stat && stat.type !== 'file') {
      throw new ComputeError('SYSTEM', `${path} is not a regular file; remove it`, { details: { path } });
    }
    if (stat) return await this.match(key, stat, recordFile);
    this.#known.delete(key);
    return undefined;
  }

  /** As {@link find}, for who has asked the file system already. */
  async match(
    key: string,
    stat: NativeFileStatus,
    recordFile: NativeFileStatus | undefined,
  ): Promise<Standing> {
    const known = this.#known.get(key);
    if (recordFile && known && isSame(known.base, stat) && isSame(known.recordFile, recordFile)) {
      return { stat, record: known.record };
    }
    this.#known.delete(key);
    const record = recordFile && (await readRecord(this.#paths.record(key)));
    if (record) this.#known.set(key, { record, base: stat, recordFile });
    return { stat, record };
  }

  /**
   * The record of a base that a new instance may stand on; undefined where the slow path must look. Rejects with
   * `IMAGE_CHECKSUM_MISMATCH` where it was made from other bytes than `image` declares.
   */
  async usable(key: string, image: ImageMeta): Promise<BaseRecord | undefined> {
    const standing = await this.find(key);
    if (!standing?.record || isDamaged(standing)) return undefined;
    if (standing.record.inspectorVersion !== INSPECTOR_VERSION) return undefined;
    assertSameImage(standing.record, image);
    return standing.record;
  }
}

/** It was found to be, or has another length than it had. */
export function isDamaged({ stat, record }: Standing): boolean {
  return record !== undefined && (record.damagedAt !== undefined || record.fileSizeBytes !== stat.sizeBytes);
}

async function statOf(path: string): Promise<NativeFileStatus | undefined> {
  return await callNative((addon, id) => addon.statFile(path, id), { operation: 'look up a base' });
}

function isSame(one: NativeFileStatus, other: NativeFileStatus): boolean {
  return one.inode === other.inode && one.sizeBytes === other.sizeBytes && one.mtimeMs === other.mtimeMs;
}
