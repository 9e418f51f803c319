// An image's metadata as it is allowed to come in: from a caller's request, from an image service, back from a journal.
import * as v from 'valibot';
import type { ImageMeta } from './model.js';
import { closed, closedEntries, closedObject, dictionary, integer } from './schema.js';

/** Without control characters, lone surrogates and the two code points that XML 1.0 cannot hold. */
const CLEAN = /^[^\p{Cc}\p{Cs}\uFFFE\uFFFF]*$/u;

export function cleanText(max: number): v.GenericSchema<string> {
  return v.pipe(
    v.string(),
    v.maxLength(max),
    v.regex(CLEAN, 'has control characters or others that XML cannot hold'),
  );
}

export const nameText: v.GenericSchema<string> = v.pipe(cleanText(255), v.minLength(1));

/** Keys and values as Nova's flavor extra specs and Glance's image properties; at most 128 of them. */
export function properties(maxValue: number): v.GenericSchema<unknown, Record<string, string>> {
  return v.pipe(dictionary(nameText, cleanText(maxValue)), v.maxEntries(128, 'has more than 128 entries'));
}

/** Far above any host: 16 TiB of memory, 1 PiB of disk. */
export const MAX_MEMORY_MB: number = 2 ** 24;
const MAX_DISK_GB = 2 ** 20;

export const diskGb: v.GenericSchema<number> = integer(0, MAX_DISK_GB);

const sourceSchema = closed(
  v.variant('type', [
    closedEntries({
      type: v.literal('file'),
      path: v.pipe(cleanText(4095), v.regex(/^\//, 'is not an absolute path')),
    }),
    closedEntries({
      type: v.literal('http'),
      url: v.pipe(
        v.string(),
        // As every reader of URLs does before it parses one.
        v.transform((text) => text.trim().replace(/[\t\n\r]/g, '')),
        v.maxLength(8192),
        v.check(isHttpUrl, 'is not an http or https URL'),
      ),
    }),
    closedEntries({
      type: v.literal('glance'),
      imageId: v.exactOptional(v.pipe(v.string(), v.uuid('is not a UUID'), v.toLowerCase())),
    }),
  ]),
);

function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}

const CHECKSUM_LENGTH = { md5: 32, sha256: 64, sha512: 128 } as const;

const checksumSchema = v.pipe(
  closedObject({
    algorithm: v.picklist(['md5', 'sha256', 'sha512']),
    value: v.pipe(v.string(), v.maxLength(128), v.toLowerCase()),
  }),
  v.check(
    ({ algorithm, value }) => /^[0-9a-f]*$/.test(value) && value.length === CHECKSUM_LENGTH[algorithm],
    'is not the hexadecimal digest of its algorithm',
  ),
);

export const imageSchema: v.GenericSchema<unknown, ImageMeta> = closedObject({
  id: nameText,
  name: v.exactOptional(cleanText(255)),
  diskFormat: v.picklist(['raw', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'iso', 'ploop', 'ami', 'ari', 'aki']),
  source: sourceSchema,
  sizeBytes: v.exactOptional(integer(0)),
  minDiskGb: v.exactOptional(diskGb),
  minRamMb: v.exactOptional(integer(0, MAX_MEMORY_MB)),
  checksum: v.exactOptional(checksumSchema),
  // Glance's os_distro and the like are short; a device tree or a kernel command line is not.
  properties: v.optional(properties(4096), {}),
});
