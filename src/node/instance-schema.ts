// Flavor, image and instance as they are allowed to come in: from a caller's request, and back from our own journal.
import * as v from 'valibot';
import { isInstanceUuid, MAX_INSTANCE_ID } from '../driver/identity.js';
import type { Flavor, ImageMeta, Instance } from '../driver/model.js';
import { closed, closedEntries, closedObject, dictionary, integer } from '../driver/schema.js';
import { checkBridgeName, checkMac, checkMtu, checkTapName } from '../network/names.js';

/** Without control characters, lone surrogates and the two code points that XML 1.0 cannot hold. */
const CLEAN = /^[^\p{Cc}\p{Cs}\uFFFE\uFFFF]*$/u;

export function cleanText(max: number): v.GenericSchema<string> {
  return v.pipe(
    v.string(),
    v.maxLength(max),
    v.regex(CLEAN, 'has control characters or others that XML cannot hold'),
  );
}

/** The check's ComputeError becomes an issue of the schema; what it returns is the value. */
export function checked<T extends string | number>(
  schema: v.GenericSchema<T>,
  check: (value: T) => T,
): v.GenericSchema<T> {
  return v.pipe(
    schema,
    v.rawTransform<T, T>(({ dataset, addIssue, NEVER }) => {
      try {
        return check(dataset.value);
      } catch (error) {
        addIssue({ message: error instanceof Error ? error.message : String(error) });
        return NEVER;
      }
    }),
  );
}

export const nameText: v.GenericSchema<string> = v.pipe(cleanText(255), v.minLength(1));

export const uuidText: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.maxLength(36),
  v.toLowerCase(),
  v.check((text) => isInstanceUuid(text), 'is not a UUID of version 1 to 8'),
);

/** Of a port: any UUID, Neutron does not say which version. */
export const portIdText: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.uuid('is not a UUID'),
  v.toLowerCase(),
);

export const macText: v.GenericSchema<string> = checked(v.pipe(v.string(), v.maxLength(17)), checkMac);
const interfaceText = v.pipe(v.string(), v.maxLength(15));
export const bridgeText: v.GenericSchema<string> = checked(interfaceText, checkBridgeName);
export const mtuNumber: v.GenericSchema<number> = checked(v.number(), checkMtu);

/** Keys and values as Nova's flavor extra specs and Glance's image properties; at most 128 of them. */
function properties(maxValue: number): v.GenericSchema<unknown, Record<string, string>> {
  return v.pipe(dictionary(nameText, cleanText(maxValue)), v.maxEntries(128, 'has more than 128 entries'));
}

/** Far above any host: 16 TiB of memory, 1 PiB of disk. */
const MAX_MEMORY_MB = 2 ** 24;
const MAX_DISK_GB = 2 ** 20;

const diskGb = integer(0, MAX_DISK_GB);

export const flavorSchema: v.GenericSchema<unknown, Flavor> = closedObject({
  name: v.optional(nameText, 'custom'),
  vcpus: integer(1, 1024),
  memoryMb: integer(1, MAX_MEMORY_MB),
  rootGb: v.optional(diskGb, 0),
  ephemeralGb: v.optional(diskGb, 0),
  swapMb: v.optional(integer(0, MAX_MEMORY_MB), 0),
  extraSpecs: v.optional(properties(1024), {}),
});

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

/** As the journal holds it; unknown keys are dropped, a later version may have written them. */
export const instanceSchema: v.GenericSchema<unknown, Instance> = v.object({
  uuid: uuidText,
  id: integer(1, MAX_INSTANCE_ID),
  name: v.pipe(v.string(), v.regex(/^instance-[0-9a-f]{8}$/)),
  displayName: nameText,
  flavor: flavorSchema,
  image: imageSchema,
  vifs: v.pipe(
    v.array(
      v.object({
        id: portIdText,
        mac: macText,
        bridge: bridgeText,
        tap: checked(interfaceText, checkTapName),
        mtu: v.exactOptional(mtuNumber),
      }),
    ),
    v.maxLength(32),
  ),
  createdAt: v.pipe(v.string(), v.maxLength(64)),
  projectId: v.exactOptional(cleanText(255)),
  userId: v.exactOptional(cleanText(255)),
});
