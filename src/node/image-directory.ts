// The images of Glance that messages name: what it says of one, those of an instance, and their end.
import { ComputeError } from '../driver/errors.js';
import type { GlanceOptions } from '../image/glance-options.js';
import { GlanceImageService } from '../image/glance-service.js';
import type { HttpSourceOptions } from '../image/types.js';
import type { LaunchRequest } from './types.js';

export interface ImageDirectory {
  /**
   * Asked with the node's own credentials. Rejects as `GlanceImageService.getImage`, and with `UNSUPPORTED` where the
   * options name no Glance.
   */
  find(id: string, options?: { readonly signal?: AbortSignal }): Promise<LaunchRequest['image']>;
  /** The ids of those that have all these properties, the newest first. Rejects as `GlanceImageService.listImages`. */
  list(
    properties: Readonly<Record<string, string>>,
    options?: { readonly signal?: AbortSignal },
  ): Promise<readonly string[]>;
  /** Gone already is success. Rejects as `GlanceImageService.deleteImage`. */
  remove(id: string, options?: { readonly signal?: AbortSignal }): Promise<void>;
  close(): Promise<void>;
}

/** The Glance of a driver's option `images`. Throws `INVALID_ARGUMENT`; opens no connection yet. */
export function imageDirectory(driverOptions: Readonly<Record<string, unknown>> = {}): ImageDirectory {
  const { glance, http } = (driverOptions['images'] ?? {}) as {
    readonly glance?: GlanceOptions;
    readonly http?: HttpSourceOptions;
  };
  if (glance === undefined) return NONE;
  const service = new GlanceImageService(glance, http);
  return {
    find: (id, options) => service.getImage(id, options),
    list: (properties, options) => service.listImages(properties, options),
    remove: (id, options) => service.deleteImage(id, options),
    close: () => service.close(),
  };
}

const NONE: ImageDirectory = {
  find: async (id) => {
    throw noGlance(`image ${id} cannot be looked up`);
  },
  list: async () => {
    throw noGlance('images cannot be listed');
  },
  remove: async (id) => {
    throw noGlance(`image ${id} cannot be deleted`);
  },
  close: async () => undefined,
};

function noGlance(what: string): ComputeError {
  return new ComputeError('UNSUPPORTED', `${what}: this host was given no Glance`, { operation: 'look-up' });
}
