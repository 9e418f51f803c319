// One snapshot under way: copied while it runs, or read at rest; made one image, and sent.
import { dirname, join } from 'node:path';
import type { SnapshotOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance } from '../driver/model.js';
import type { SnapshotProgress, SnapshotResult, SnapshotStep } from '../driver/snapshot.js';
import type { ImageFormat } from '../driver/snapshot-schema.js';
import type { Undo } from '../driver/undo.js';
import { convertImage } from '../image/convert-image.js';
import type { ImageLayer } from '../image/disk.js';
import type { ImageCacheOptions } from '../image/types.js';
import { callNative, changeFiles } from '../native.js';
import type { Domains } from './domains.js';
import type { DiskInfo } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { type CopyHost, SnapshotCopy } from './snapshot-copy.js';
import type { Destination, NewImage, SnapshotContext } from './snapshot-destination.js';

export interface SnapshotsHost extends CopyHost {
  readonly instancesPath: string;
  readonly domains: Domains;
  readonly images: Pick<ImageCacheOptions, 'glance' | 'http' | 'reservedBytes' | 'maxVirtualBytes'>;
}

/** As the image cache's. */
const RESERVED_BYTES = 2 ** 28;
/** Of tables beside the clusters of an image. */
const TABLES_BYTES = 2 ** 20;

/** Below the instance's own, with which it goes. */
export function snapshotDirectory(instancesPath: string, uuid: string): string {
  return join(instancesPath, uuid, 'snapshot');
}

/** One snapshot under way. */
export class Snapshot {
  readonly #host: SnapshotsHost;
  readonly #instance: Instance;
  readonly #disk: DiskInfo;
  readonly #destination: Destination;
  readonly #format: ImageFormat;
  readonly #options: SnapshotOptions;
  readonly #context: SnapshotContext;
  readonly #undo: Undo;
  readonly #path: string;
  readonly #directory: string;
  #isCopying = false;
  readonly #stepsMs: Record<SnapshotStep, number> = { copy: 0, quiesce: 0, convert: 0, upload: 0 };

  constructor(
    host: SnapshotsHost,
    instance: Instance,
    disk: DiskInfo,
    destination: Destination,
    format: ImageFormat,
    options: SnapshotOptions,
    context: SnapshotContext,
    undo: Undo,
  ) {
    this.#host = host;
    this.#instance = instance;
    this.#disk = disk;
    this.#destination = destination;
    this.#format = format;
    this.#options = options;
    this.#context = context;
    this.#undo = undo;
    this.#path = new InstanceFiles(host.instancesPath, instance.uuid).disk();
    this.#directory = snapshotDirectory(host.instancesPath, instance.uuid);
  }

  async live(): Promise<SnapshotResult> {
    const copy = new SnapshotCopy(this.#host, this.#instance, this.#path);
    copy.checkQuiesce();
    const found = await copy.look(this.#context);
    const { device, virtualSizeBytes } = found;
    const own = await this.#allocated(this.#path);
    await this.#begin(virtualSizeBytes, own);
    const file = join(this.#directory, 'disk');
    using watch = copy.watch(device);
    this.#isCopying = true;
    this.#undo.add('end the copy', async () => {
      await copy.end();
      this.#isCopying = false;
    });
    await this.#step('copy', () =>
      this.#explainCopy(
        copy.start(found, this.#disk, file, watch, this.#context, (doneBytes, totalBytes) =>
          this.#report({ step: 'copy', doneBytes, totalBytes }),
        ),
      ),
    );
    const { quiesced, pauseMs } = await this.#step('quiesce', () => copy.cut(device, watch, this.#context));
    const image = { format: this.#format.format, virtualSizeBytes };
    const layers: ImageLayer[] = [{ path: file, format: 'qcow2' }, ...this.#below()];
    return { ...(await this.#finish(image, layers, false)), how: 'live', quiesced, pauseMs };
  }

  async cold(): Promise<SnapshotResult> {
    const { format } = this.#disk;
    const info = await callNative((addon, id) => addon.imageInfo(this.#path, format, id), this.#context);
    const virtualSizeBytes = info['virtual-size'];
    await this.#begin(virtualSizeBytes, 0);
    const image = { format: this.#format.format, virtualSizeBytes };
    const layers: ImageLayer[] = [{ path: this.#path, format }, ...this.#below()];
    return { ...(await this.#finish(image, layers, true)), how: 'cold', quiesced: false, pauseMs: 0 };
  }

  /** What must be there before a byte is written: room, a place for the image, a directory for what is made meanwhile. */
  async #begin(virtualSizeBytes: number, copyBytes: number): Promise<void> {
    const { base } = this.#disk;
    const layers = (await this.#allocated(this.#path)) + (base ? await this.#allocated(base.path) : 0);
    const imageBytes = Math.min(layers, virtualSizeBytes) + TABLES_BYTES;
    const place = dirname(this.#destination.imagePath);
    const together = place === this.#directory;
    await this.#assertRoom(this.#host.instancesPath, copyBytes + (together ? imageBytes : 0));
    this.#undo.add('the destination', () => this.#destination.undo());
    await this.#destination.begin({ format: this.#format.format, virtualSizeBytes }, this.#context);
    if (!together) await this.#assertRoom(place, imageBytes);
    this.#undo.add('remove temporary files', () => this.#removeFiles());
    // QEMU's user must get through.
    await changeFiles((addon, id) => addon.makeDirectory(this.#directory, 0o711, id), this.#context);
  }

  /** Not below a copy that could not be ended: by its directory a later snapshot, and the next start, find it. */
  async #removeFiles(): Promise<void> {
    const { uuid } = this.#instance;
    if (this.#isCopying) {
      throw new ComputeError('INSTANCE_BUSY', `the copy below ${this.#directory} is under way`, {
        operation: 'undo of snapshot',
        instanceUuid: uuid,
      });
    }
    await changeFiles((addon, id) => addon.removeTree(this.#directory, id), {
      operation: 'undo of snapshot',
      instanceUuid: uuid,
    });
  }

  async #finish(
    image: NewImage,
    layers: readonly ImageLayer[],
    lock: boolean,
  ): Promise<Omit<SnapshotResult, 'how' | 'quiesced' | 'pauseMs'>> {
    const { imagePath } = this.#destination;
    const { signal } = this.#context;
    const { virtualSizeBytes } = image;
    await this.#step('convert', () =>
      this.#explainLock(
        convertImage(layers, imagePath, {
          ...this.#format,
          maxVirtualBytes: this.#host.images.maxVirtualBytes,
          lock,
          // What goes over the network is read back at once and then removed.
          sync: dirname(imagePath) !== this.#directory,
          signal,
          onProgress: (doneBytes) =>
            this.#report({ step: 'convert', doneBytes, totalBytes: virtualSizeBytes }),
        }),
      ),
    );
    const stat = await callNative((addon, id) => addon.statFile(imagePath, id), this.#context);
    const sizeBytes = stat?.sizeBytes ?? 0;
    const checksum = await this.#step('upload', () =>
      this.#destination.finish(
        image,
        {
          path: imagePath,
          sizeBytes,
          onProgress: (doneBytes) => this.#report({ step: 'upload', doneBytes, totalBytes: sizeBytes }),
        },
        this.#context,
      ),
    );
    return { ...this.#destination.name, ...image, sizeBytes, checksum, stepsMs: this.#stepsMs };
  }

  async #step<T>(step: SnapshotStep, work: () => Promise<T>): Promise<T> {
    if (this.#context.signal.aborted) throw this.#context.signal.reason;
    this.#report({ step });
    const begin = performance.now();
    const result = await work();
    this.#stepsMs[step] = performance.now() - begin;
    return result;
  }

  #report(progress: SnapshotProgress): void {
    try {
      this.#options.onProgress?.(progress);
    } catch (error) {
      this.#host.logger.warn('a listener to the progress of a snapshot failed', { error: String(error) });
    }
  }

  #below(): ImageLayer[] {
    const { base } = this.#disk;
    return base ? [base] : [];
  }

  async #allocated(path: string): Promise<number> {
    const stat = await callNative((addon, id) => addon.statFile(path, id), this.#context);
    return stat?.allocatedBytes ?? 0;
  }

  async #room(directory: string): Promise<number> {
    const { availableBytes } = await callNative((addon, id) => addon.statFs(directory, id), this.#context);
    return Math.max(0, availableBytes - (this.#host.images.reservedBytes ?? RESERVED_BYTES));
  }

  async #assertRoom(directory: string, requiredBytes: number): Promise<void> {
    const availableBytes = await this.#room(directory);
    if (requiredBytes > availableBytes) throw this.#full(directory, requiredBytes, availableBytes);
  }

  /** QEMU ends a copy for which there is no room, and libvirt does not say why. */
  async #explainCopy(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const failed = ComputeError.is(error) && error.code === 'HYPERVISOR';
      const [needed, room] = [await this.#allocated(this.#path), await this.#room(this.#directory)];
      if (failed && room < needed) throw this.#full(this.#directory, needed, room, error);
      throw error;
    }
  }

  /** Somebody has started it past us. */
  async #explainLock<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!(ComputeError.is(error) && error.details['rule'] === 'in-use')) throw error;
      const { uuid } = this.#instance;
      throw new ComputeError(
        'INVALID_STATE',
        `snapshot: the disk of instance ${uuid} is in use, though it is at rest`,
        {
          operation: 'snapshot',
          instanceUuid: uuid,
          retryable: true,
          cause: error,
        },
      );
    }
  }

  #full(directory: string, requiredBytes: number, availableBytes: number, cause?: unknown): ComputeError {
    const { uuid } = this.#instance;
    return new ComputeError(
      'NO_SPACE',
      `snapshot of instance ${uuid}: it may need ${requiredBytes} bytes in ${directory}, ${availableBytes} are free`,
      {
        operation: 'snapshot',
        instanceUuid: uuid,
        cause,
        details: { directory, requiredBytes, availableBytes },
      },
    );
  }
}
