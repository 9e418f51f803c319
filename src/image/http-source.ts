// Images by their URL.
import { ComputeError } from '../driver/errors.js';
import { download, downloadSubject } from './download.js';
import type { HttpClient } from './http-client.js';
import type { SourceRequest, SourceResult } from './source-request.js';

export async function fetchHttp(
  request: SourceRequest,
  client: HttpClient,
  address: string,
): Promise<SourceResult> {
  const { image, signal } = request;
  const url = parseUrl(image.id, address);
  return await download(request, (headers) =>
    client.get({ url, subject: downloadSubject(image.id), signal, headers }),
  );
}

function parseUrl(imageId: string, address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new ComputeError('INVALID_ARGUMENT', `the URL of image ${imageId} must be http or https`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `the URL of image ${imageId} must not hold a user or password`,
    );
  }
  return url;
}
