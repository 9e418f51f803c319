// Makes a base: fetch, verify, inspect, convert, publish. Runs under the base's exclusive lock.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { callNative, type NativeImageVerdict } from '../native.js';
import { assertDiskFits, inspectRaw } from './base-checks.js';
import { type BaseRecord, INSPECTOR_VERSION, makeRecord, writeRecord } from './base-record.js';
import type { CachePaths } from './cache-paths.js';
import { digestOf, type ImageSources } from './image-source.js';
import { publishBase } from './publish-base.js';
import { convertForeign, isForeign } from './qemu-img.js';
import { replaceBase } from './replace-base.js';
import type { Flight } from './single-flight.js';
import type { SourceResult } from './source-request.js';
import { removeLeftovers, removeTemporary } from './temporaries.js';
import type { ImageLogger, ImageProgress } from './types.js';

const SECTOR_BYTES = 512;

export interface FetchContext {
  readonly paths: CachePaths;
  readonly logger: ImageLogger;
  readonly maxVirtualBytes: number;
  readonly reservedBytes: number;
  readonly sources: ImageSources;
}

/**
 * Leaves a base under its final name with a record beside it, or what was there. `damaged` is the record of one that
 * instances stand on: only the very bytes that it had may take its place.
 */
export async function fetchBase(
  context: FetchContext,
  key: string,
  image: ImageMeta,
  flight: Flight<ImageProgress>,
  damaged?: BaseRecord,
): Promise<BaseRecord> {
  await removeLeftovers(context.paths, key);
  const fetch = new BaseFetch(context, key, image, flight, damaged);
  try {
    return await fetch.run();
  } finally {
    await removeLeftovers(context.paths, key);
  }
}

/** Inspects a base that has no record, or one of an older inspector, and writes a new one. */
export async function adoptBase(
  context: FetchContext,
  key: string,
  image: ImageMeta,
  old: BaseRecord | undefined,
): Promise<BaseRecord> {
  const verdict = await inspectRaw(context.paths.base(key), context.maxVirtualBytes, undefined);
  const { virtualSizeBytes } = verdict;
  const record: BaseRecord = old
    ? { ...old, virtualSizeBytes, inspectorVersion: INSPECTOR_VERSION }
    : makeRecord(image, { checksum: null, sourceSizeBytes: null, virtualSizeBytes, content: null });
  await writeRecord(context.paths.record(key), record);
  return record;
}

class BaseFetch {
  readonly #context: FetchContext;
  readonly #key: string;
  #image: ImageMeta;
  readonly #flight: Flight<ImageProgress>;
  readonly #damaged: BaseRecord | undefined;

  constructor(
    context: FetchContext,
    key: string,
    image: ImageMeta,
    flight: Flight<ImageProgress>,
    damaged: BaseRecord | undefined,
  ) {
    this.#context = context;
    this.#key = key;
    this.#image = image;
    this.#flight = flight;
    this.#damaged = damaged;
  }

  async run(): Promise<BaseRecord> {
    const { downloaded, result } = await this.#downloadVerified();
    this.#flight.report({ activity: 'inspecting', totalBytes: result.bytes });
    const verdict = await this.#native('inspection', (addon, id) =>
      addon.inspectImage(downloaded, this.#image.diskFormat, this.#context.maxVirtualBytes, id),
    );
    const base = isDisk(verdict.format) ? downloaded : await this.#convert(downloaded, verdict);
    const virtualSizeBytes = rawSize(verdict);
    this.#assertFits(virtualSizeBytes);

    this.#flight.report({ activity: 'publishing' });
    if (base !== downloaded) await inspectRaw(base, this.#context.maxVirtualBytes, this.#flight.signal);
    const algorithm = digestOf(this.#image);
    const checksum = algorithm === '' ? null : { algorithm, value: result.digest };
    const record = makeRecord(this.#image, {
      checksum,
      sourceSizeBytes: result.bytes,
      virtualSizeBytes,
      content: base === downloaded ? checksum : null,
    });
    const { signal } = this.#flight;
    if (this.#damaged) {
      return await replaceBase(this.#context, this.#key, base, record, this.#damaged, signal);
    }
    await publishBase(this.#context.paths, this.#key, base, record, signal);
    return record;
  }

  /** What was damaged on the way is fetched once more; what passes by itself its source tries again. */
  async #downloadVerified(): Promise<{ readonly downloaded: string; readonly result: SourceResult }> {
    const { signal } = this.#flight;
    this.#image = await this.#context.sources.declare(this.#image, { signal, logger: this.#context.logger });
    for (let attempt = 0; ; attempt++) {
      const downloaded = this.#context.paths.temporary(this.#key, 'download');
      try {
        return { downloaded, result: await this.#download(downloaded) };
      } catch (error) {
        if (attempt > 0 || !isDamaged(error, this.#image) || signal.aborted) throw error;
        this.#context.logger.warn('an image came damaged, fetching it again', { imageId: this.#image.id });
        await removeTemporary(downloaded);
      }
    }
  }

  async #download(target: string): Promise<SourceResult> {
    const { maxVirtualBytes, logger, sources } = this.#context;
    const room = await this.#room();
    const roomIsTheCap = room < maxVirtualBytes;
    try {
      const result = await sources.fetch({
        image: this.#image,
        target,
        digest: digestOf(this.#image),
        maxBytes: Math.min(maxVirtualBytes, room),
        signal: this.#flight.signal,
        logger,
        report: (progress) => this.#flight.report(progress),
        onSize: async ({ bytes, storedBytes }) => {
          if (isDisk(this.#image.diskFormat)) this.#assertFits(bytes);
          await this.#assertRoom(storedBytes);
        },
      });
      this.#verify(result);
      return result;
    } catch (error) {
      if (roomIsTheCap && ComputeError.is(error) && error.details['rule'] === 'too-large') {
        throw this.#noSpace(maxVirtualBytes, room);
      }
      throw error;
    }
  }

  #verify(result: SourceResult): void {
    const { id, checksum, sizeBytes } = this.#image;
    this.#flight.report({ activity: 'verifying', doneBytes: result.bytes, totalBytes: result.bytes });
    if (sizeBytes !== undefined && result.bytes !== sizeBytes) {
      throw new ComputeError(
        'IMAGE_DOWNLOAD_FAILED',
        `image ${id} is declared with ${sizeBytes} bytes and has ${result.bytes}`,
        { operation: 'verification' },
      );
    }
    if (checksum && checksum.value.toLowerCase() !== result.digest) {
      throw new ComputeError(
        'IMAGE_CHECKSUM_MISMATCH',
        `the ${checksum.algorithm} of image ${id} does not match`,
        {
          operation: 'verification',
          details: { expected: checksum.value, actual: result.digest },
        },
      );
    }
  }

  async #convert(source: string, verdict: NativeImageVerdict): Promise<string> {
    this.#assertFits(rawSize(verdict));
    await this.#assertRoom(verdict.dataBytes);
    const target = this.#context.paths.temporary(this.#key, 'convert');
    const totalBytes = verdict.virtualSizeBytes;
    const report = (doneBytes: number): void =>
      this.#flight.report({ activity: 'converting', doneBytes: Math.min(doneBytes, totalBytes), totalBytes });
    report(0);
    const { format } = verdict;
    if (isForeign(format)) {
      const { signal } = this.#flight;
      await convertForeign({
        source,
        format,
        target,
        virtualSizeBytes: totalBytes,
        sync: false,
        signal,
        onProgress: report,
      });
    } else {
      const options = {
        format: 'raw',
        compression: 'none',
        clusterSizeBytes: 65_536,
        maxVirtualBytes: this.#context.maxVirtualBytes,
        threads: 0,
        sync: false,
      } as const;
      await this.#native(
        'conversion',
        (addon, id) => addon.convertImage([{ path: source, format: 'qcow2' }], target, options, id),
        report,
      );
    }
    report(totalBytes);
    await removeTemporary(source);
    return target;
  }

  /** Of all who wait the largest disk counts: the others learn of theirs when the base is there. */
  #assertFits(virtualSizeBytes: number): void {
    assertDiskFits(this.#image, virtualSizeBytes, this.#flight.limit);
  }

  async #room(): Promise<number> {
    const status = await this.#native('free space', (addon, id) =>
      addon.statFs(this.#context.paths.temporaries, id),
    );
    return Math.max(0, status.availableBytes - this.#context.reservedBytes);
  }

  async #assertRoom(bytes: number): Promise<void> {
    const room = await this.#room();
    if (bytes > room) throw this.#noSpace(bytes, room);
  }

  #noSpace(bytes: number, room: number): ComputeError {
    return new ComputeError(
      'NO_SPACE',
      `image ${this.#image.id} needs ${bytes} bytes in ${this.#context.paths.bases}, ${room} are free`,
      { operation: 'image cache', details: { requiredBytes: bytes, availableBytes: room } },
    );
  }

  async #native<T>(
    what: string,
    call: (addon: Parameters<Parameters<typeof callNative<T>>[0]>[0], id: number) => Promise<T>,
    onProgress?: (done: number) => void,
  ): Promise<T> {
    return await callNative(call, {
      operation: `${what} of image ${this.#image.id}`,
      signal: this.#flight.signal,
      waitOnAbort: true,
      ...(onProgress && { onProgress }),
    });
  }
}

/** The file is the disk, byte for byte. */
function isDisk(format: string): boolean {
  return format === 'raw' || format === 'iso';
}

/** QEMU rounds a qcow2 disk down to whole sectors. */
function rawSize(verdict: NativeImageVerdict): number {
  const { format, virtualSizeBytes } = verdict;
  return format === 'qcow2' ? virtualSizeBytes - (virtualSizeBytes % SECTOR_BYTES) : virtualSizeBytes;
}

function isDamaged(error: unknown, image: ImageMeta): boolean {
  return ComputeError.is(error) && error.code === 'IMAGE_CHECKSUM_MISMATCH' && image.source.type !== 'file';
}
