// Glance as a source of images: what it declares of one, and its bytes.
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta } from '../driver/model.js';
import { download, downloadSubject } from './download.js';
import { GlanceClient } from './glance-client.js';
import { lookupSubject, parseGlanceImage } from './glance-image.js';
import { type GlanceOptions, parseGlanceOptions } from './glance-options.js';
import { readJson, statusFault } from './http-client.js';
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
