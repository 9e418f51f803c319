// Glance as a source of images: what it declares of one, and its bytes.
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { download, downloadSubject } from './download.js';
import { GlanceClient } from './glance-client.js';
import { lookupSubject, parseGlanceImage } from './glance-image.js';
import { listImages } from './glance-list.js';
import { type GlanceOptions, parseGlanceOptions } from './glance-options.js';
import { discard, readJson, statusFault } from './http-client.js';
import type { SourceRequest, SourceResult } from './source-request.js';
import type { HttpSourceOptions, ImageLookupOptions, ImageService } from './types.js';

const LOOKUP_TIMEOUT_MS = 60_000;
/** Of metadata; Glance's own limits (128 properties) leave it far smaller. */
const MOST_BYTES = 2 ** 20;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** OpenStack's image service, API v2. Connections and the token are kept between calls; closing ends them. */
export class GlanceImageService implements ImageService {
  readonly #client: GlanceClient;

  /** Throws `INVALID_ARGUMENT`. Opens no connection yet. */
  constructor(options: GlanceOptions, http: HttpSourceOptions = {}) {
    this.#client = new GlanceClient(parseGlanceOptions(options), http);
  }

  /**
   * GET /v2/images/{id}. Beside what every service rejects with: an image without data is `IMAGE_DOWNLOAD_FAILED`, with its
   * status in `details.status`, and `retryable` while data is on its way; rule `container-format` for one that is not
   * bare, `metadata` for what a launch would refuse.
   */
  async getImage(id: string, options: ImageLookupOptions = {}): Promise<ImageMeta> {
    const { signal, timeoutMs = LOOKUP_TIMEOUT_MS } = options;
    const imageId = glanceId(id);
    const subject = lookupSubject(imageId);
    using deadline = new Deadline({ operation: `look-up of image ${imageId}`, signal, timeoutMs });
    try {
      const request = { subject, signal: deadline.signal };
      const response = await this.#client.get(`/images/${imageId}`, request);
      if (response.statusCode !== 200) throw statusFault(request, response);
      return parseGlanceImage(imageId, await readJson(request, response, MOST_BYTES));
    } catch (error) {
      throw deadline.explain(error);
    }
  }

  /** GET /v2/images/{id}/file. */
  async fetch(request: SourceRequest, id: string): Promise<SourceResult> {
    const { image, signal } = request;
    const path = `/images/${glanceId(id)}/file`;
    return await download(request, (headers) =>
      this.#client.get(path, { subject: downloadSubject(image.id), signal, headers }),
    );
  }

  /**
   * GET /v2/images: the ids of those that have all these properties, the newest first. Rejects with `UNAUTHORIZED`,
   * `IMAGE_DOWNLOAD_FAILED`, `ABORTED`, `TIMEOUT`.
   */
  async listImages(
    properties: Readonly<Record<string, string>>,
    options: ImageLookupOptions = {},
  ): Promise<readonly string[]> {
    const { signal, timeoutMs = LOOKUP_TIMEOUT_MS } = options;
    using deadline = new Deadline({ operation: 'list of images', signal, timeoutMs });
    try {
      return await listImages(this.#client, properties, deadline.signal);
    } catch (error) {
      throw deadline.explain(error);
    }
  }

  /**
   * DELETE /v2/images/{id}. Gone already is success. Rejects as {@link listImages}, with `UNAUTHORIZED` also for a protected one,
   * and with `INVALID_ARGUMENT` for an id that none can have.
   */
  async deleteImage(id: string, options: ImageLookupOptions = {}): Promise<void> {
    const { signal, timeoutMs = LOOKUP_TIMEOUT_MS } = options;
    const imageId = glanceId(id);
    using deadline = new Deadline({ operation: `deletion of image ${imageId}`, signal, timeoutMs });
    try {
      const request = { subject: `image ${imageId} cannot be deleted`, signal: deadline.signal };
      const response = await this.#client.send(`/images/${imageId}`, request, () => ({ method: 'DELETE' }));
      if (response.statusCode !== 204 && response.statusCode !== 404) throw statusFault(request, response);
      discard(response);
    } catch (error) {
      throw deadline.explain(error);
    }
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** It becomes part of a path. */
function glanceId(id: string): string {
  if (typeof id === 'string' && UUID.test(id)) return id.toLowerCase();
  throw new ComputeError('INVALID_ARGUMENT', 'the id of an image in Glance is a UUID');
}
