// What Glance says of an image that a message names by its id alone.
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
    close: () => service.close(),
  };
}

const NONE: ImageDirectory = {
  find: async (id) => {
    throw new ComputeError('UNSUPPORTED', `image ${id} cannot be looked up: this host was given no Glance`, {
      operation: 'look-up',
    });
  },
  close: async () => undefined,
};
