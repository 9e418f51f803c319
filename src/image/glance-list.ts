// Images of Glance by their properties: page after page, the newest first.
import * as v from 'valibot';
import { check } from '../driver/schema.js';
import type { GlanceClient } from './glance-client.js';
import { fault, readJson, statusFault } from './http-client.js';

const PAGE = 50;
/** Of a page: names and properties are the users'. */
const MOST_BYTES = 16 * 2 ** 20;

const pageSchema = v.object({
  images: v.array(v.record(v.string(), v.unknown())),
  next: v.nullish(v.string()),
});

/** Whatever Glance makes of the filter: what it answers has these properties, or is left out. */
export async function listImages(
  client: GlanceClient,
  properties: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const request = { subject: 'images cannot be listed', signal };
  const wanted = Object.entries(properties);
  const ids: string[] = [];
  for (let marker: string | undefined; ; ) {
    const query = new URLSearchParams({
      ...properties,
      sort: 'created_at:desc',
      limit: String(PAGE),
      ...(marker !== undefined && { marker }),
    });
    const response = await client.get(`/images?${query}`, request);
    if (response.statusCode !== 200) throw statusFault(request, response);
    const page = check(pageSchema, await readJson(request, response, MOST_BYTES));
    if (page.problems) throw fault(request, "Glance's answer is no list of images");
    const { images, next } = page.value;
    ids.push(
      ...images
        .filter((one) => wanted.every(([key, value]) => one[key] === value))
        .map(({ id }) => String(id)),
    );
    const last = images.at(-1)?.['id'];
    if (next == null || last === undefined) return ids;
    marker = String(last);
  }
}
