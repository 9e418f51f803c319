// Flavor, image and instance as they are allowed to come in: from a caller's request, and back from our own journal.
import { z } from 'zod';
import { isInstanceUuid, MAX_INSTANCE_ID } from '../driver/identity.js';
import type { Flavor, ImageMeta, Instance } from '../driver/model.js';
import { checkBridgeName, checkMac, checkMtu, checkTapName } from '../network/names.js';

/** Without control characters, lone surrogates and the two code points that XML 1.0 cannot hold. */
const CLEAN = /^[^\p{Cc}\p{Cs}\uFFFE\uFFFF]*$/u;

export function cleanText(max: number): z.ZodString {
  return z.string().max(max).regex(CLEAN, 'has control characters or others that XML cannot hold');
}

/** The check's ComputeError becomes an issue of the schema; what it returns is the value. */
export function checked<T extends string | number>(
  schema: z.ZodType<T>,
  check: (value: T) => T,
): z.ZodType<T> {
  return schema.transform((value, context) => {
    try {
      return check(value);
    } catch (error) {
      context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
      return z.NEVER;
    }
  }) as unknown as z.ZodType<T>;
}

export const nameText: z.ZodString = cleanText(255).min(1);

export const uuidText: z.ZodType<string> = z
  .string()
  .max(36)
  .transform((text) => text.toLowerCase())
  .refine(isInstanceUuid, 'is not a UUID of version 1 to 8') as unknown as z.ZodType<string>;

/** Of a port: any UUID, Neutron does not say which version. */
export const portIdText: z.ZodType<string> = z
  .guid()
  .transform((text) => text.toLowerCase()) as unknown as z.ZodType<string>;

export const macText: z.ZodType<string> = checked(z.string().max(17), checkMac);
export const bridgeText: z.ZodType<string> = checked(z.string().max(15), checkBridgeName);
export const mtuNumber: z.ZodType<number> = checked(z.number(), checkMtu);

/** Keys and values as Nova's flavor extra specs and Glance's image properties; at most 128 of them. */
function properties(maxValue: number): z.ZodType<Record<string, string>> {
  return z
    .record(cleanText(255).min(1), cleanText(maxValue))
    .refine((record) => Object.keys(record).length <= 128, 'has more than 128 entries');
}

/** Far above any host: 16 TiB of memory, 1 PiB of disk. */
const MAX_MEMORY_MB = 2 ** 24;
const MAX_DISK_GB = 2 ** 20;

const diskGb = z.int().min(0).max(MAX_DISK_GB);

export const flavorSchema: z.ZodType<Flavor> = z.strictObject({
  name: nameText.default('custom'),
  vcpus: z.int().min(1).max(1024),
  memoryMb: z.int().min(1).max(MAX_MEMORY_MB),
  rootGb: diskGb.default(0),
  ephemeralGb: diskGb.default(0),
  swapMb: z.int().min(0).max(MAX_MEMORY_MB).default(0),
  extraSpecs: properties(1024).default({}),
});

const sourceSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('file'),
    path: cleanText(4095).regex(/^\//, 'is not an absolute path'),
  }),
  z.strictObject({ type: z.literal('http'), url: z.url({ protocol: /^https?$/ }).max(8192) }),
]);

const CHECKSUM_LENGTH = { md5: 32, sha256: 64, sha512: 128 } as const;

const checksumSchema = z
  .strictObject({
    algorithm: z.enum(['md5', 'sha256', 'sha512']),
    value: z
      .string()
      .max(128)
      .transform((value) => value.toLowerCase()),
  })
  .refine(
    ({ algorithm, value }) => /^[0-9a-f]*$/.test(value) && value.length === CHECKSUM_LENGTH[algorithm],
    'is not the hexadecimal digest of its algorithm',
  );

export const imageSchema: z.ZodType<ImageMeta> = z.strictObject({
  id: nameText,
  name: cleanText(255).exactOptional(),
  diskFormat: z.enum(['raw', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'iso', 'ploop', 'ami', 'ari', 'aki']),
  source: sourceSchema,
  sizeBytes: z.int().min(0).exactOptional(),
  minDiskGb: diskGb.exactOptional(),
  minRamMb: z.int().min(0).max(MAX_MEMORY_MB).exactOptional(),
  checksum: checksumSchema.exactOptional(),
  // Glance's os_distro and the like are short; a device tree or a kernel command line is not.
  properties: properties(4096).default({}),
});

/** As the journal holds it; unknown keys are dropped, a later version may have written them. */
export const instanceSchema: z.ZodType<Instance> = z.object({
  uuid: uuidText,
  id: z.int().min(1).max(MAX_INSTANCE_ID),
  name: z.string().regex(/^instance-[0-9a-f]{8}$/),
  displayName: nameText,
  flavor: flavorSchema,
  image: imageSchema,
  vifs: z
    .array(
      z.object({
        id: portIdText,
        mac: macText,
        bridge: bridgeText,
        tap: checked(z.string().max(15), checkTapName),
        mtu: mtuNumber.exactOptional(),
      }),
    )
    .max(32),
  createdAt: z.string().max(64),
  projectId: cleanText(255).exactOptional(),
  userId: cleanText(255).exactOptional(),
});
