// An image into Glance: its record, its bytes as a stream, and the proof that Glance has those very bytes.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import type { DiskFormat, ImageChecksum } from '../driver/model.js';
import { check, integer } from '../driver/schema.js';
import { digestFile } from './digest-file.js';
import { openDisk } from './disk.js';
import type { GlanceClient } from './glance-client.js';
import { discard, fault, type HttpResponse, isPassing, readJson, statusFault } from './http-client.js';
import { Retries } from './retries.js';
import type { HttpSourceOptions, ImageLogger } from './types.js';
import { bytesOf, LeastRate, type UploadedFile } from './upload-body.js';

/** What is declared of an image; properties as Glance has them, among its other attributes. */
export interface ImageRecord {
  readonly name: string;
  readonly diskFormat: DiskFormat;
  readonly minDiskGb: number;
  readonly minRamMb: number;
  readonly properties: Readonly<Record<string, string>>;
}

export interface UploadCall {
  readonly imageId: string;
  readonly signal: AbortSignal;
  readonly http: HttpSourceOptions;
  readonly logger: ImageLogger;
}

const MOST_BYTES = 2 ** 20;
/** A store may have to move what it has got before Glance answers. */
const ANSWER_TIMEOUT_MS = 300_000;
const CONFLICT = 409;
const PATCH_TYPE = 'application/openstack-images-v2.1-json-patch';

const statusSchema = v.object({
  status: v.string(),
  size: v.nullish(integer(0)),
  checksum: v.nullish(v.string()),
  os_hash_algo: v.nullish(v.string()),
  os_hash_value: v.nullish(v.string()),
});
type Status = v.InferOutput<typeof statusSchema>;

/** POST /v2/images, for data that come later. */
export async function createRecord(
  client: GlanceClient,
  call: UploadCall,
  record: ImageRecord,
): Promise<void> {
  const body = JSON.stringify({ ...record.properties, id: call.imageId, ...attributes(record) });
  await persist(call, async () => {
    const content = { method: 'POST', type: 'application/json', body } as const;
    const response = await client.send('/images', about(call), () => content);
    // The answer to a try before this one may have been lost.
    const known = response.statusCode === CONFLICT;
    if (response.statusCode !== 201 && !known) throw statusFault(about(call), response);
    discard(response);
    if (known) await awaitData(client, call);
  });
}

/** Of a record that somebody else has made for this: rejects with `INVALID_STATE` where it has data already. */
export async function checkRecord(client: GlanceClient, call: UploadCall): Promise<void> {
  await persist(call, () => awaitData(client, call));
}

/** PATCH /v2/images/{id}: what is declared of a record that is there; its other properties stay. */
export async function describeRecord(
  client: GlanceClient,
  call: UploadCall,
  record: ImageRecord,
): Promise<void> {
  const { name: _its, ...rest } = attributes(record);
  const changes = Object.entries({ ...record.properties, ...rest }).map(([key, value]) => ({
    op: 'add',
    path: `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`,
    value,
  }));
  const content = { method: 'PATCH', type: PATCH_TYPE, body: JSON.stringify(changes) } as const;
  await persist(call, async () => {
    const response = await client.send(`/images/${call.imageId}`, about(call), () => content);
    if (response.statusCode !== 200) throw statusFault(about(call), response);
    discard(response);
  });
}

/**
 * PUT /v2/images/{id}/file, from the start at each try; the digest is taken from the file meanwhile, and at the end Glance
 * must have that one. Rejects with `IMAGE_CHECKSUM_MISMATCH` where it has other bytes.
 */
export async function uploadFile(
  client: GlanceClient,
  call: UploadCall,
  file: UploadedFile,
): Promise<ImageChecksum> {
  const digest = digestFile(file.path, 'sha512', { signal: call.signal });
  digest.catch(() => undefined);
  await persist(call, async () => {
    try {
      await put(client, call, file);
    } catch (error) {
      // Its answer may have been lost, and what it has is whole.
      if (!isConflict(error) && !isPassing(error)) throw error;
      const { status } = await readStatus(client, call);
      if (status === 'active') return;
      if (status !== 'queued' && status !== 'saving') throw error;
      throw fault(about(call), `the transfer broke off (${(error as ComputeError).message})`, {
        retryable: true,
        cause: error,
      });
    }
  });
  const has = await persist(call, () => readStatus(client, call));
  const sha512 = await digest;
  const checksum = await comparable(has, file.path, sha512, call.signal);
  const same = checksum !== undefined && checksum.given === checksum.wanted;
  if (has.status !== 'active' || has.size !== file.sizeBytes || !same) {
    throw new ComputeError(
      'IMAGE_CHECKSUM_MISMATCH',
      `${about(call).subject}: Glance does not have what was sent: status ${has.status.slice(0, 32)}, ${has.size ?? 'no'} of ${file.sizeBytes} bytes, ${same ? 'the same' : 'another'} checksum`,
      { details: { imageId: call.imageId, status: has.status.slice(0, 32), sizeBytes: has.size } },
    );
  }
  return { algorithm: 'sha512', value: sha512 };
}

/** DELETE /v2/images/{id}, unless it has become an image. Gone already is success. */
export async function removeUnfinished(client: GlanceClient, call: UploadCall): Promise<void> {
  await persist(call, async () => {
    const found = await client.get(`/images/${call.imageId}`, about(call));
    if (found.statusCode === 404) return discard(found);
    if ((await parseStatus(call, found)).status === 'active') return;
    await remove(client, call);
  });
}

/** DELETE /v2/images/{id}, whatever it has. Gone already is success. */
export async function removeRecord(client: GlanceClient, call: UploadCall): Promise<void> {
  await persist(call, () => remove(client, call));
}

async function remove(client: GlanceClient, call: UploadCall): Promise<void> {
  const response = await client.send(`/images/${call.imageId}`, about(call), () => ({ method: 'DELETE' }));
  const { statusCode } = response;
  if (statusCode !== 204 && statusCode !== 404) throw statusFault(about(call), response);
  discard(response);
}

async function put(client: GlanceClient, call: UploadCall, file: UploadedFile): Promise<void> {
  using disk = await openDisk([{ path: file.path, format: 'raw' }], { signal: call.signal });
  const rate = new LeastRate(call.signal, call.http);
  const { signal } = rate;
  try {
    const response = await client.send(`/images/${call.imageId}/file`, { ...about(call), signal }, () => ({
      method: 'PUT',
      type: 'application/octet-stream',
      body: bytesOf(disk, file, rate),
      bytes: file.sizeBytes,
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
    }));
    if (response.statusCode !== 204) throw statusFault(about(call), response);
    discard(response);
  } catch (error) {
    if (rate.missed && !call.signal.aborted) {
      throw fault(about(call), 'the server is too slow', { retryable: true, cause: error });
    }
    throw error;
  } finally {
    rate.end();
  }
}

/** Glance's digest and ours by the same algorithm; undefined where it has none that we can take. */
async function comparable(
  { checksum, os_hash_algo, os_hash_value }: Status,
  path: string,
  sha512: string,
  signal: AbortSignal,
): Promise<{ readonly given: string; readonly wanted: string } | undefined> {
  if (os_hash_value && os_hash_algo === 'sha512') return { given: os_hash_value, wanted: sha512 };
  if (os_hash_value && (os_hash_algo === 'sha256' || os_hash_algo === 'md5')) {
    return { given: os_hash_value, wanted: await digestFile(path, os_hash_algo, { signal }) };
  }
  return checksum ? { given: checksum, wanted: await digestFile(path, 'md5', { signal }) } : undefined;
}

async function awaitData(client: GlanceClient, call: UploadCall): Promise<void> {
  const { status } = await readStatus(client, call);
  if (status === 'queued') return;
  throw new ComputeError(
    'INVALID_STATE',
    `${about(call).subject}: its status is ${status.slice(0, 32)}, not queued; make a new record for it`,
    { details: { imageId: call.imageId, status: status.slice(0, 32) } },
  );
}

async function readStatus(client: GlanceClient, call: UploadCall): Promise<Status> {
  return await parseStatus(call, await client.get(`/images/${call.imageId}`, about(call)));
}

async function parseStatus(call: UploadCall, response: HttpResponse): Promise<Status> {
  if (response.statusCode !== 200) throw statusFault(about(call), response);
  const answer = check(statusSchema, await readJson(about(call), response, MOST_BYTES));
  if (answer.problems) throw fault(about(call), "Glance's answer is not valid");
  return answer.value;
}

/** Again, after a pause, what failed for a reason that passes; in the words of an upload. */
async function persist<T>(call: UploadCall, work: () => Promise<T>): Promise<T> {
  const { http, ...rest } = call;
  const retries = new Retries(http, rest);
  try {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        await retries.next(error);
      }
    }
  } catch (error) {
    throw asUploadFailure(error);
  }
}

function asUploadFailure(error: unknown): unknown {
  if (!ComputeError.is(error) || error.code !== 'IMAGE_DOWNLOAD_FAILED') return error;
  const { message, retryable, details, cause } = error;
  return new ComputeError('IMAGE_UPLOAD_FAILED', message, { operation: 'upload', retryable, details, cause });
}

function isConflict(error: unknown): boolean {
  return ComputeError.is(error) && error.details['statusCode'] === CONFLICT;
}

function about({ imageId, signal }: UploadCall): { readonly subject: string; readonly signal: AbortSignal } {
  return { subject: `image ${imageId} cannot be uploaded`, signal };
}

function attributes({ name, diskFormat, minDiskGb, minRamMb }: ImageRecord): Record<string, unknown> {
  return {
    name,
    disk_format: diskFormat,
    container_format: 'bare',
    min_disk: minDiskGb,
    min_ram: minRamMb,
  };
}
