// An image as the command line names it: a file, a URL or one in Glance, and what is known of it.
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { DiskFormat, ImageChecksum, ImageSource, LaunchRequest } from '../index.js';
import type { Run } from './command.js';
import { checksum, pair } from './flag-values.js';
import { glanceFromEnvironment } from './glance-environment.js';

export const IMAGE_PLACE = '<path|url|glance:id>';
export const IMAGE_PLACE_HELP = 'a local file, an http(s) URL, or an image in the Glance of OS_AUTH_URL';

export interface ImageFlags {
  readonly imageId?: string;
  readonly imageFormat: string;
  readonly checksum?: ImageChecksum;
  readonly property: Readonly<Record<string, string>>;
}

export function withImageOptions(command: Command): Command {
  return command
    .option('--image-id <id>', 'names the image in the cache; default: made from path or URL')
    .option('--image-format <format>', 'raw, qcow2 ...', 'qcow2')
    .option('--checksum <algorithm:hex>', 'md5, sha256 or sha512 of the image', checksum)
    .option('--property <key=value>', 'image property (hw_*, os_*); repeatable', pair, {});
}

/** Asks Glance for one that is there; anything else is described by the flags alone. */
export async function imageFrom(place: string, flags: ImageFlags, run: Run): Promise<LaunchRequest['image']> {
  const glanceId = /^glance:(.*)$/.exec(place)?.[1];
  return glanceId === undefined ? described(place, flags) : await lookUp(glanceId, flags, run);
}

async function lookUp(id: string, flags: ImageFlags, { signal }: Run): Promise<LaunchRequest['image']> {
  const { glance, http } = glanceFromEnvironment(process.env);
  const { GlanceImageService } = await import('../index.js');
  await using service = new GlanceImageService(glance, http);
  const image = await service.getImage(id, { signal });
  return { ...image, properties: { ...image.properties, ...flags.property } };
}

function described(place: string, flags: ImageFlags): LaunchRequest['image'] {
  const source: ImageSource = /^https?:\/\//.test(place)
    ? { type: 'http', url: place }
    : { type: 'file', path: resolve(place) };
  const where = source.type === 'http' ? source.url : source.path;
  return {
    id: flags.imageId ?? createHash('sha1').update(where).digest('hex'),
    diskFormat: flags.imageFormat as DiskFormat,
    source,
    properties: flags.property,
    ...(flags.checksum && { checksum: flags.checksum }),
  };
}
