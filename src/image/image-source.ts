// Where image bytes come from: one function a kind of source, all with the same promise.
import { ComputeError } from '../driver/errors.js';
import type { ImageMeta, ImageSource } from '../driver/model.js';
import { callNative } from '../native.js';
import type { DigestAlgorithm, SourceRequest, SourceResult } from './source-request.js';

/** When this resolves the file is whole, not yet synced: what is published of it is. It has as many bytes as the source announced. */
export async function fetchSource(request: SourceRequest): Promise<SourceResult> {
  const { source } = request.image;
  switch (source.type) {
    case 'file':
      return await copyLocal(request, source.path);
    case 'http': {
      // Loaded here, as its client takes 17 MB of memory: a node whose images are files never needs it.
      const { fetchHttp } = await import('./http-source.js');
      return await fetchHttp(request, source.url);
    }
    default:
      return unknownSource(source);
  }
}

/**
 * Which digest is taken on the way: the declared one. A download without any gets a sha256 for its record; a local
 * file does not, so that a file system with reflinks need not read it at all.
 */
export function digestOf(image: ImageMeta): DigestAlgorithm {
  return image.checksum?.algorithm ?? (image.source.type === 'http' ? 'sha256' : '');
}

/** For logs and records: without user info, query and fragment, which may hold secrets. */
export function describeSource(source: ImageSource): string {
  if (source.type === 'file') return source.path;
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
          { digest: request.digest, maxBytes: request.maxBytes, sync: false },
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
  throw new ComputeError('INVALID_ARGUMENT', `unknown image source ${JSON.stringify(source)}`);
}
