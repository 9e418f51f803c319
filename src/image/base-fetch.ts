// Makes a base: fetch, verify, inspect, convert, publish. Runs under the base's exclusive lock.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { callNative, type NativeImageVerdict } from '../native.js';
import { ArrivingConversion } from './arriving-conversion.js';
import { assertDiskFits, inspectBase, inspectRaw } from './base-checks.js';
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
  /** qcow2 images become raw bases. */
  readonly forceRaw: boolean;
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
  const path = context.paths.base(key);
  // Without a record it may be either only where the image is one that is kept.
  const format = old?.format ?? (image.diskFormat === 'qcow2' ? undefined : 'raw');
  const verdict = await inspectBase(path, format, context.maxVirtualBytes);
  const record: BaseRecord = old
    ? { ...old, ...factsOf(verdict), inspectorVersion: INSPECTOR_VERSION }
    : makeRecord(image, { checksum: null, sourceSizeBytes: null, content: null, ...factsOf(verdict) });
  await writeRecord(context.paths.record(key), record);
  return record;
}

class BaseFetch {
  readonly #context: FetchContext;
  readonly #key: string;
  readonly #converted: string;
  #image: ImageMeta;
  readonly #flight: Flight<ImageProgress>;
  readonly #damaged: BaseRecord | undefined;
  #conversion: ArrivingConversion | undefined;

  constructor(
    context: FetchContext,
    key: string,
    image: ImageMeta,
    flight: Flight<ImageProgress>,
    damaged: BaseRecord | undefined,
  ) {
    this.#context = context;
    this.#key = key;
    this.#converted = context.paths.temporary(key, 'convert');
    this.#image = image;
    this.#flight = flight;
    this.#damaged = damaged;
  }

  async run(): Promise<BaseRecord> {
    try {
      return await this.#make();
    } finally {
      await this.#conversion?.abandon();
    }
  }

  async #make(): Promise<BaseRecord> {
    const { downloaded, result } = await this.#downloadVerified();
    this.#flight.report({ activity: 'inspecting', totalBytes: result.bytes });
    const verdict = await this.#native('inspection', (addon, id) =>
      addon.inspectImage(downloaded, this.#image.diskFormat, this.#context.maxVirtualBytes, id),
    );
    const virtualSizeBytes = diskSize(verdict);
    if (virtualSizeBytes === 0) throw this.#empty();
    this.#assertFits(virtualSizeBytes);
    const kept = this.#keeps(verdict.format);
    const base = kept ? downloaded : await this.#convert(downloaded, verdict);
    const facts = kept ? factsOf(verdict) : rawFacts(virtualSizeBytes);
    if (!kept) await inspectRaw(base, this.#context.maxVirtualBytes, this.#flight.signal);

    this.#flight.report({ activity: 'publishing' });
    const algorithm = digestOf(this.#image);
    const checksum = algorithm === '' ? null : { algorithm, value: result.digest };
    const record = makeRecord(this.#image, {
      checksum,
      sourceSizeBytes: result.bytes,
      ...facts,
      content: kept ? checksum : null,
    });
    const { signal } = this.#flight;
    if (this.#damaged) {
      return await replaceBase(this.#context, this.#key, base, record, this.#damaged, signal);
    }
    await publishBase(this.#context.paths, this.#key, base, record, signal);
    return record;
  }

  /** The image is the base as it is. What takes the place of a damaged base has its format. */
  #keeps(format: string): boolean {
    const keepsQcow2 = this.#damaged ? this.#damaged.format === 'qcow2' : !this.#context.forceRaw;
    return isDisk(format) || (format === 'qcow2' && keepsQcow2);
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
        await this.#conversion?.abandon();
        await removeTemporary(downloaded);
      }
    }
  }

  async #download(target: string): Promise<SourceResult> {
    const { maxVirtualBytes, logger, sources } = this.#context;
    const room = await this.#room();
    const roomIsTheCap = room < maxVirtualBytes;
    this.#conversion = this.#arriving(target, room);
    try {
      const result = await sources.fetch({
        image: this.#image,
        target,
        digest: digestOf(this.#image),
        maxBytes: Math.min(maxVirtualBytes, room),
        // What is converted is thrown away.
        sync: this.#keeps(this.#image.diskFormat),
        arrival: this.#conversion,
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

  /** Of what the engine converts, while it is downloaded. */
  #arriving(source: string, room: number): ArrivingConversion | undefined {
    const { id, diskFormat } = this.#image;
    if (diskFormat !== 'qcow2' || this.#keeps(diskFormat)) return undefined;
    return new ArrivingConversion({
      imageId: id,
      source,
      target: this.#converted,
      maxVirtualBytes: this.#context.maxVirtualBytes,
      room,
      signal: this.#flight.signal,
      // A flavor that is too small costs no whole download.
      onVirtualSize: (bytes) => this.#assertFits(bytes),
    });
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
    const target = this.#converted;
    const placed = await this.#native('room', (addon, id) => addon.statFile(target, id));
    await this.#assertRoom(verdict.dataBytes - (placed?.allocatedBytes ?? 0));
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
    } else if (!(await this.#conversion?.finish({ signal: this.#flight.signal, onProgress: report }))) {
      const options = {
        format: 'raw',
        compression: 'none',
        clusterSizeBytes: 65_536,
        maxVirtualBytes: this.#context.maxVirtualBytes,
        threads: 0,
        sync: true,
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

  #empty(): ComputeError {
    return new ComputeError('IMAGE_UNACCEPTABLE', `image ${this.#image.id} has not one sector`, {
      operation: 'inspection',
      details: { rule: 'empty' },
    });
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
function diskSize({ format, virtualSizeBytes }: NativeImageVerdict): number {
  return format === 'qcow2' ? virtualSizeBytes - (virtualSizeBytes % SECTOR_BYTES) : virtualSizeBytes;
}

type BaseFacts = Pick<BaseRecord, 'format' | 'virtualSizeBytes' | 'fileSizeBytes'>;

/** Of a base that is the inspected file as it is. */
function factsOf(verdict: NativeImageVerdict): BaseFacts {
  if (verdict.format !== 'qcow2') return rawFacts(verdict.fileSizeBytes);
  return {
    format: 'qcow2',
    virtualSizeBytes: diskSize(verdict),
    fileSizeBytes: verdict.fileSizeBytes,
  };
}

function rawFacts(bytes: number): BaseFacts {
  return { format: 'raw', virtualSizeBytes: bytes, fileSizeBytes: bytes };
}

function isDamaged(error: unknown, image: ImageMeta): boolean {
  return ComputeError.is(error) && error.code === 'IMAGE_CHECKSUM_MISMATCH' && image.source.type !== 'file';
}
