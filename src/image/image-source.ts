// Where image bytes come from: one way a kind of source, all with the same promise.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta, ImageSource } from '../driver/model.js';
import { callNative } from '../native.js';
import { GlanceImageService } from './glance-service.js';
import { HttpClient } from './http-client.js';
import { fetchHttp } from './http-source.js';
import { Retries, type RetriesOptions } from './retries.js';
import type { DigestAlgorithm, SourceRequest, SourceResult } from './source-request.js';
import type { HttpSourceOptions, ImageCacheOptions } from './types.js';

/** Keeps connections and tokens between fetches, until it is closed. */
export class ImageSources {
  readonly #options: HttpSourceOptions;
  readonly #http: HttpClient;
  readonly #glance: GlanceImageService | undefined;

  /** Throws `INVALID_ARGUMENT`. */
  constructor({ http = {}, glance }: Pick<ImageCacheOptions, 'http' | 'glance'>) {
    this.#options = http;
    this.#http = new HttpClient(http);
    this.#glance = glance && new GlanceImageService(glance, http);
  }

  /** The image with its size and checksum as its service has them, where the request left them out: none is unverified. */
  async declare(image: ImageMeta, options: Omit<RetriesOptions, 'imageId'>): Promise<ImageMeta> {
    const { source } = image;
    if (source.type !== 'glance') return image;
    const glance = this.#requireGlance(image);
    const retries = new Retries(this.#options, { ...options, imageId: image.id });
    for (;;) {
      try {
        const { sizeBytes, checksum } = await glance.getImage(source.imageId ?? image.id, options);
        return { ...(sizeBytes !== undefined && { sizeBytes }), ...(checksum && { checksum }), ...image };
      } catch (error) {
        await retries.next(error);
      }
    }
  }

  /** When this resolves the file is whole: it has as many bytes as the source announced. */
  async fetch(wanted: Omit<SourceRequest, 'http'>): Promise<SourceResult> {
    const request = { ...wanted, http: this.#options };
    const { image } = request;
    const { source } = image;
    switch (source.type) {
      case 'file':
        return await copyLocal(request, source.path);
      case 'http':
        return await fetchHttp(request, this.#http, source.url);
      case 'glance':
        return await this.#requireGlance(image).fetch(request, source.imageId ?? image.id);
      default:
        return unknownSource(source);
    }
  }

  /** Downloads under way fail with `CLOSED`. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.#http.close(), this.#glance?.close()]);
  }

  #requireGlance({ id }: ImageMeta): GlanceImageService {
    if (this.#glance) return this.#glance;
    throw new ComputeError('INVALID_ARGUMENT', `image ${id} is in Glance, and no Glance is configured`);
  }
}

/**
 * Which digest is taken on the way: the declared one. A download without any gets a sha256 for its record; a local
 * file does not, so that a file system with reflinks need not read it at all.
 */
export function digestOf(image: ImageMeta): DigestAlgorithm {
  return image.checksum?.algorithm ?? (image.source.type === 'file' ? '' : 'sha256');
}

/** For logs and records: without user info, query and fragment, which may hold secrets. */
export function describeSource(source: ImageSource): string {
  if (source.type === 'file') return source.path;
  if (source.type === 'glance') return source.imageId === undefined ? 'Glance' : `Glance, ${source.imageId}`;
  try {
    const url = new URL(source.url);
    return `${url.origin}${url.pathname}`;
  } catch {
    return 'an unreadable URL';
  }
}

async function copyLocal(request: SourceRequest, path: string): Promise<SourceResult> {
  if (!path.startsWith('/')) {
    throw new ComputeError('INVALID_ARGUMENT', `the path of image ${request.image.id} must be absolute`);
  }
  const options = { operation: `copy of image ${request.image.id}`, signal: request.signal };
  const stat = await callNative((addon, id) => addon.statFile(path, id), options);
  // Not of a symbolic link, which the operator may have put there: the copy then goes by its caps alone.
  if (stat?.type === 'file') {
    await request.onSize({
      bytes: stat.sizeBytes,
      storedBytes: Math.min(stat.sizeBytes, stat.allocatedBytes),
    });
    request.report({ activity: 'downloading', doneBytes: 0, totalBytes: stat.sizeBytes });
  } else {
    request.report({ activity: 'downloading' });
  }
  try {
    const result = await callNative(
      (addon, id) =>
        addon.copyFile(
          path,
          request.target,
          { digest: request.digest, maxBytes: request.maxBytes, sync: request.sync },
          id,
        ),
      options,
    );
    request.report({ activity: 'downloading', doneBytes: result.bytes, totalBytes: result.bytes });
    return result;
  } catch (error) {
    if (ComputeError.is(error) && error.details['errno'] === 2 && error.details['path'] === path) {
      throw new ComputeError('IMAGE_NOT_FOUND', `there is no file ${path} for image ${request.image.id}`, {
        cause: error,
      });
    }
    throw error;
  }
}

function unknownSource(source: never): never {
  throw new ComputeError(
    'INVALID_ARGUMENT',
    `unknown image source ${JSON.stringify((source as ImageSource).type)}`,
  );
}
