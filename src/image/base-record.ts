// What is known of a base beside its bytes: `_base/<sha1>.json`, written before the base gets its name.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import type { ImageChecksum, ImageMeta } from '../driver/model.js';
import { integer } from '../driver/schema.js';
import { callNative } from '../native.js';
import { describeSource } from './image-source.js';

/** Raised when the inspector refuses more than it did: bases that an older one let through are inspected again. */
export const INSPECTOR_VERSION = 1;

const RECORD_BYTES = 64 * 1024;

/**
 * Of a base's own bytes. `sparse-sha256` passes over zeros (native/image/file_digest.h): bases that are converted have
 * none that someone else took.
 */
export interface ContentDigest {
  readonly algorithm: ImageChecksum['algorithm'] | 'sparse-sha256';
  readonly value: string;
}

export interface BaseRecord {
  readonly imageId: string;
  /** Without user info and query: they may hold secrets. */
  readonly source: string;
  readonly diskFormat: string;
  /** Of the bytes as they came, before any conversion; verified where the image declares one. */
  readonly checksum: ImageChecksum | null;
  readonly sourceSizeBytes: number | null;
  readonly format: 'raw' | 'qcow2';
  /** Of the disk. */
  readonly virtualSizeBytes: number;
  /** Length of the base; that of the disk where it is raw. */
  readonly fileSizeBytes: number;
  /** What a scrub holds the base against; null until it was taken. */
  readonly content: ContentDigest | null;
  /** ISO 8601, UTC: since then it is known to hold other bytes. No new instance gets it. */
  readonly damagedAt?: string | undefined;
  readonly inspectorVersion: number;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
}

const recordSchema = v.object({
  imageId: v.string(),
  source: v.string(),
  diskFormat: v.string(),
  checksum: v.nullable(v.object({ algorithm: v.picklist(['md5', 'sha256', 'sha512']), value: v.string() })),
  sourceSizeBytes: v.nullable(integer(0)),
  // Older records have neither this nor the file's length: their bases are raw.
  format: v.optional(v.picklist(['raw', 'qcow2']), 'raw'),
  virtualSizeBytes: integer(1),
  fileSizeBytes: v.exactOptional(integer(1)),
  // Records of earlier versions have neither.
  content: v.optional(
    v.nullable(
      v.object({ algorithm: v.picklist(['md5', 'sha256', 'sha512', 'sparse-sha256']), value: v.string() }),
    ),
    null,
  ),
  damagedAt: v.optional(v.string()),
  inspectorVersion: v.pipe(v.number(), v.safeInteger()),
  createdAt: v.string(),
});

export function makeRecord(
  image: ImageMeta,
  facts: Pick<
    BaseRecord,
    'checksum' | 'sourceSizeBytes' | 'format' | 'virtualSizeBytes' | 'fileSizeBytes' | 'content'
  >,
): BaseRecord {
  return {
    imageId: image.id,
    source: describeSource(image.source),
    diskFormat: image.diskFormat,
    ...facts,
    inspectorVersion: INSPECTOR_VERSION,
    createdAt: new Date().toISOString(),
  };
}

/** undefined where there is none, or none that can be understood. */
export async function readRecord(path: string): Promise<BaseRecord | undefined> {
  const options = { operation: 'read the record of a base' };
  if (!(await callNative((addon, id) => addon.statFile(path, id), options))) return undefined;
  const bytes = await callNative((addon, id) => addon.readFile(path, RECORD_BYTES, id), options);
  try {
    const record = v.parse(recordSchema, JSON.parse(bytes.toString('utf8')));
    return { fileSizeBytes: record.virtualSizeBytes, ...record };
  } catch {
    return undefined;
  }
}

export async function writeRecord(path: string, record: BaseRecord): Promise<void> {
  await callNative(
    (addon, id) =>
      addon.writeFile(
        path,
        `${JSON.stringify(record, null, 2)}\n`,
        { how: 'replace', mode: 0o644, sync: true },
        id,
      ),
    { operation: 'write the record of a base' },
  );
}

/** A cached base never stands in for an image that declares other bytes under the same id. */
export function assertSameImage(record: BaseRecord, image: ImageMeta): void {
  const wanted = image.checksum;
  const cached = record.checksum;
  if (!wanted || !cached || wanted.algorithm !== cached.algorithm) return;
  if (wanted.value.toLowerCase() === cached.value) return;
  throw new ComputeError(
    'IMAGE_CHECKSUM_MISMATCH',
    `the cached base of image ${image.id} was made from bytes with another ${wanted.algorithm}; other content needs another image id`,
    { details: { imageId: image.id, expected: wanted.value, actual: cached.value } },
  );
}
