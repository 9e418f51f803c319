// What GET /v2/images/{id} of Glance says of an image, as an ImageMeta.
import * as v from 'valibot';
import { ComputeError, type ComputeErrorOptions } from '../driver/errors.js';
import { imageSchema } from '../driver/image-schema.js';
import type { ImageChecksum, ImageMeta } from '../driver/model.js';
import { check, integer, type Problem } from '../driver/schema.js';
import { fault } from './http-client.js';

const GIB = 2 ** 30;

const shortText = v.pipe(v.string(), v.maxLength(255));
const amount = v.nullish(integer(0));

/** What is used; visibility, owner, tags, locations and the rest of Glance's own attributes are not. */
const answerSchema = v.object({
  id: shortText,
  name: v.nullish(v.string()),
  status: shortText,
  disk_format: v.nullish(shortText),
  container_format: v.nullish(shortText),
  size: amount,
  virtual_size: amount,
  min_disk: amount,
  min_ram: amount,
  checksum: v.nullish(shortText),
  os_hash_algo: v.nullish(shortText),
  os_hash_value: v.nullish(shortText),
});

type Answer = v.InferOutput<typeof answerSchema>;

/** Data is on its way: the same look-up may succeed later. */
const PENDING: ReadonlySet<string> = new Set(['queued', 'saving', 'uploading', 'importing']);
const GONE: ReadonlySet<string> = new Set(['killed', 'deleted', 'pending_delete']);

/** The vocabulary of Nova's ImageMetaProps, with the three old names that are still in use. */
const PROPERTY = /^(?:hw_|img_|os_)|^(?:architecture|vm_mode|hypervisor_type)$/;
/** Glance's own. */
const NO_PROPERTY = /^os_(?:hash_|hidden$|glance_)/;

/**
 * Throws `IMAGE_DOWNLOAD_FAILED` where that is not Glance's answer, or there is no data (yet: `retryable`),
 * `IMAGE_NOT_FOUND` where the data was deleted, `IMAGE_UNACCEPTABLE` where the image is none to start an instance from.
 */
export function parseGlanceImage(imageId: string, value: unknown): ImageMeta {
  const subject = lookupSubject(imageId);
  const answer = check(answerSchema, value);
  if (answer.problems) throw fault({ subject }, `Glance's answer is not valid: ${list(answer.problems)}`);
  const { id, status, container_format } = answer.value;
  if (id.toLowerCase() !== imageId) throw fault({ subject }, 'Glance answers with another image');
  assertActive(subject, status);
  if (container_format !== 'bare')
    throw unacceptable(subject, 'container-format', 'its container format is not bare');
  const checked = check(imageSchema, toImage(imageId, answer.value, value as object));
  if (!checked.problems) return checked.value;
  throw unacceptable(subject, 'metadata', list(checked.problems));
}

export function lookupSubject(imageId: string): string {
  return `image ${imageId} cannot be looked up`;
}

function assertActive(subject: string, status: string): void {
  if (status === 'active') return;
  const details = { status: status.slice(0, 32) };
  const reason = `its status is ${JSON.stringify(details.status)}, not active`;
  if (GONE.has(status)) throw new ComputeError('IMAGE_NOT_FOUND', `${subject}: ${reason}`, { details });
  throw fault({ subject }, reason, { retryable: PENDING.has(status), details });
}

function toImage(id: string, answer: Answer, all: object): unknown {
  const { name, disk_format, size, virtual_size, min_disk, min_ram } = answer;
  const checksum = checksumOf(answer);
  return {
    id,
    ...(name && { name }),
    diskFormat: disk_format,
    source: { type: 'glance' },
    ...(size != null && { sizeBytes: size }),
    // The disk in the image has to fit, too: better told before the download than after.
    minDiskGb: Math.max(min_disk ?? 0, Math.ceil((virtual_size ?? 0) / GIB)),
    minRamMb: min_ram ?? 0,
    ...(checksum && { checksum }),
    properties: Object.fromEntries(
      Object.entries(all).filter(
        ([key, text]) => PROPERTY.test(key) && !NO_PROPERTY.test(key) && text !== null,
      ),
    ),
  };
}

/** Of Glance's two the stronger; any algorithm of Python's hashlib can be configured. */
function checksumOf({ os_hash_algo, os_hash_value, checksum }: Answer): ImageChecksum | undefined {
  switch (os_hash_algo) {
    case 'md5':
    case 'sha256':
    case 'sha512':
      return { algorithm: os_hash_algo, value: os_hash_value ?? '' };
    default:
      return checksum ? { algorithm: 'md5', value: checksum } : undefined;
  }
}

function list(problems: readonly Problem[]): string {
  return problems
    .slice(0, 8)
    .map(({ path, message }) => `${path.join('.')} ${message}`)
    .join('; ')
    .slice(0, 1000);
}

function unacceptable(subject: string, rule: string, reason: string): ComputeError {
  const options: ComputeErrorOptions = { operation: 'look-up', details: { rule } };
  return new ComputeError('IMAGE_UNACCEPTABLE', `${subject}: ${reason}`, options);
}
