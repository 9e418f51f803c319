// Where the image of a snapshot goes: prepared before anything is copied, given the image at the end, or taken back.
import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';
import { ComputeError } from '../driver/errors.js';
import type { ImageChecksum, Instance } from '../driver/model.js';
import type { SnapshotTarget } from '../driver/snapshot.js';
import { digestFile } from '../image/digest-file.js';
import type { GlanceClient } from '../image/glance-client.js';
import {
  checkRecord,
  createRecord,
  describeRecord,
  type ImageRecord,
  removeRecord,
  removeUnfinished,
  type UploadCall,
  uploadFile,
} from '../image/glance-upload.js';
import type { HttpSourceOptions, ImageLogger } from '../image/types.js';
import type { UploadedFile } from '../image/upload-body.js';
import { callNative } from '../native.js';
import type { CallContext } from './hypervisor.js';
import { snapshotRecord } from './snapshot-record.js';

const EEXIST = 17;
const UNDO_TIMEOUT_MS = 60_000;

/** An image that is being made. */
export interface NewImage {
  readonly format: 'qcow2' | 'raw';
  readonly virtualSizeBytes: number;
}

export interface Destination {
  /** The image is written there first. */
  readonly imagePath: string;
  /** What is told of it in the result. */
  readonly name: { readonly imageId: string } | { readonly path: string };
  begin(image: NewImage, context: SnapshotContext): Promise<void>;
  finish(image: NewImage, file: UploadedFile, context: SnapshotContext): Promise<ImageChecksum>;
  /** Idempotent. What the snapshot did not make stays. */
  undo(): Promise<void>;
  /** The same for what a process that died may have begun, or finished. */
  undoUnfinished(signal: AbortSignal): Promise<void>;
}

export type SnapshotContext = CallContext & { readonly signal: AbortSignal };

export interface DestinationHost {
  readonly glance: (() => GlanceClient) | undefined;
  readonly http: HttpSourceOptions;
  readonly logger: ImageLogger;
}

/** Throws `INVALID_ARGUMENT` for Glance where none is configured. */
export function destinationOf(
  host: DestinationHost,
  instance: Instance,
  target: SnapshotTarget,
  directory: string,
): Destination {
  if (target.type === 'file') return new FileDestination(instance.uuid, target.path);
  if (host.glance) return new GlanceDestination(host, host.glance(), instance, target, directory);
  throw new ComputeError('INVALID_ARGUMENT', 'snapshot: its target is Glance, and no Glance is configured', {
    operation: 'snapshot',
    instanceUuid: instance.uuid,
  });
}

class GlanceDestination implements Destination {
  readonly imagePath: string;
  readonly name: { readonly imageId: string };
  readonly #host: DestinationHost;
  readonly #client: GlanceClient;
  readonly #instance: Instance;
  readonly #target: Extract<SnapshotTarget, { type: 'glance' }>;
  readonly #creates: boolean;

  constructor(
    host: DestinationHost,
    client: GlanceClient,
    instance: Instance,
    target: Extract<SnapshotTarget, { type: 'glance' }>,
    directory: string,
  ) {
    this.#host = host;
    this.#client = client;
    this.#instance = instance;
    this.#target = target;
    this.#creates = target.create ?? target.imageId === undefined;
    this.name = { imageId: target.imageId ?? randomUUID() };
    this.imagePath = join(directory, 'image');
  }

  async begin({ format, virtualSizeBytes }: NewImage, { signal }: SnapshotContext): Promise<void> {
    const call = this.#call(signal);
    if (!this.#creates) return await checkRecord(this.#client, call);
    const record = snapshotRecord(this.#instance, this.#target, format, virtualSizeBytes);
    await createRecord(this.#client, call, record);
  }

  async finish(
    { format, virtualSizeBytes }: NewImage,
    file: UploadedFile,
    { signal }: SnapshotContext,
  ): Promise<ImageChecksum> {
    const call = this.#call(signal);
    const record = snapshotRecord(this.#instance, this.#target, format, virtualSizeBytes);
    // Glance takes no other format once there are data.
    if (!this.#creates) await describeRecord(this.#client, call, withoutItsOrigin(record));
    return await uploadFile(this.#client, call, file);
  }

  async undo(): Promise<void> {
    if (this.#creates) await removeRecord(this.#client, this.#call(AbortSignal.timeout(UNDO_TIMEOUT_MS)));
  }

  async undoUnfinished(signal: AbortSignal): Promise<void> {
    if (this.#creates) await removeUnfinished(this.#client, this.#call(signal));
  }

  #call(signal: AbortSignal): UploadCall {
    return { ...this.name, signal, http: this.#host.http, logger: this.#host.logger };
  }
}

/** Nova's API has said whether it is a snapshot or a backup, and of which image. */
function withoutItsOrigin({ properties, ...record }: ImageRecord): ImageRecord {
  const { image_type: _kind, base_image_ref: _base, ...rest } = properties;
  return { ...record, properties: rest };
}

class FileDestination implements Destination {
  readonly imagePath: string;
  readonly name: { readonly path: string };
  readonly #uuid: string;

  constructor(uuid: string, path: string) {
    this.#uuid = uuid;
    this.name = { path };
    // Beside it, so that it can get its name by a link; of one name for each instance, so that it is found again.
    this.imagePath = join(dirname(path), `.${uuid}.part`);
  }

  async begin(_image: NewImage, context: SnapshotContext): Promise<void> {
    const { path } = this.name;
    const there = await callNative((addon, id) => addon.statFile(path, id), context);
    if (there) throw this.#exists();
    const parent = await callNative((addon, id) => addon.statFile(dirname(path), id), context);
    if (parent?.type === 'directory') return;
    throw new ComputeError('INVALID_ARGUMENT', `snapshot: there is no directory ${dirname(path)}`, {
      operation: 'snapshot',
      instanceUuid: this.#uuid,
      details: { path },
    });
  }

  async finish(_image: NewImage, file: UploadedFile, context: SnapshotContext): Promise<ImageChecksum> {
    const { path } = this.name;
    const value = await digestFile(file.path, 'sha512', context);
    const { signal: _late, ...whole } = context;
    try {
      await callNative((addon, id) => addon.linkFile(file.path, path, id), whole);
    } catch (error) {
      if (ComputeError.is(error) && error.details['errno'] === EEXIST) throw this.#exists();
      throw error;
    }
    // Of two names of one file rename(2) does nothing: what remains of the call is the fsync of their directory.
    await callNative((addon, id) => addon.publishFile(file.path, path, true, id), whole);
    await this.undo();
    return { algorithm: 'sha512', value };
  }

  async undo(): Promise<void> {
    const call = { operation: 'undo of snapshot', instanceUuid: this.#uuid, timeoutMs: UNDO_TIMEOUT_MS };
    await callNative((addon, id) => addon.removeTree(this.imagePath, id), call);
  }

  async undoUnfinished(): Promise<void> {
    await this.undo();
  }

  #exists(): ComputeError {
    const { path } = this.name;
    return new ComputeError('INVALID_ARGUMENT', `snapshot: ${path} is there already and is left as it is`, {
      operation: 'snapshot',
      instanceUuid: this.#uuid,
      details: { path },
    });
  }
}
