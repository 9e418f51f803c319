// The JSON specification of a domain: what `node-compute domain-xml` reads. docs/domain-xml.md describes it.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ComputeError } from '../driver/errors.js';
import type { Flavor, ImageMeta, Instance, Vif } from '../driver/model.js';
import { instanceName } from '../driver/model.js';
import { ARCHITECTURES, CPU_MODES, DISK_CACHES, type DomainHost } from './xml/host.js';

const VIFS_MAX = 64;
const TERMS_MAX = 256;
const INSTANCES_PATH = '/var/lib/node-compute/instances';

const name = z.string().min(1).max(255);
const uuid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'must be a UUID in lower case');
const path = z
  .string()
  .max(4095)
  .regex(/^\/[^\0\n]*$/, 'must be an absolute path');
const interfaceName = z
  .string()
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/,
    'must be 1 to 15 of A-Z a-z 0-9 _ . - and not begin with . or -',
  );
const mac = z
  .string()
  .regex(/^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$/, 'must be six pairs of hexadecimal digits with colons')
  .transform((text) => text.toLowerCase())
  .refine((text) => (Number.parseInt(text.slice(0, 2), 16) & 1) === 0, 'must be a unicast address')
  .refine((text) => text !== '00:00:00:00:00:00', 'must not be all zero');
const count = (min: number, max: number): z.ZodNumber => z.int().min(min).max(max);
const scalar = z
  .union([z.string().max(4096), z.boolean(), z.number()], 'must be a string, a number or a boolean')
  .transform(String);
const terms = z
  .record(z.string().min(1).max(255), scalar)
  .refine(
    (entries) => Object.keys(entries).length <= TERMS_MAX,
    `must not have more than ${TERMS_MAX} entries`,
  );

const flavorSchema = z.strictObject({
  name: name.optional(),
  vcpus: count(1, 4096),
  memoryMb: count(1, 16 * 1024 * 1024),
  rootGb: count(0, 1024 * 1024).optional(),
  ephemeralGb: count(0, 1024 * 1024).optional(),
  swapMb: count(0, 1024 * 1024 * 1024).optional(),
  extraSpecs: terms.optional(),
});

const imageSchema = z.strictObject({
  id: name,
  name: name.optional(),
  diskFormat: z.enum(['raw', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'iso', 'ploop', 'ami', 'ari', 'aki']),
  properties: terms.optional(),
});

const vifSchema = z.strictObject({
  id: uuid.optional(),
  mac: mac.optional(),
  bridge: interfaceName.optional(),
  tap: interfaceName.optional(),
  mtu: count(68, 65535).optional(),
});

const cpus = z.array(count(0, 65535)).max(4096);

const hostSchema = z.strictObject({
  virtType: z.enum(['kvm', 'qemu']).optional(),
  architecture: z.enum(ARCHITECTURES).optional(),
  emulator: path.optional(),
  machine: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a machine type of QEMU')
    .optional(),
  cpuMode: z.enum(CPU_MODES).optional(),
  cpuModel: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a CPU model of libvirt')
    .optional(),
  cpuTune: z.boolean().optional(),
  swtpm: z.boolean().optional(),
  secureBoot: z.boolean().optional(),
  pinning: z
    .strictObject({
      dedicated: cpus,
      shared: cpus.optional(),
      emulator: cpus.optional(),
      nodes: z.array(count(0, 1023)).max(128).optional(),
    })
    .optional(),
  vncListen: z.union([z.ipv4(), z.ipv6()], 'must be an IP address').optional(),
  diskCache: z.enum(DISK_CACHES).optional(),
  memoryStatsPeriodSeconds: count(0, 3600).optional(),
  rngDevice: path.optional(),
  smbios: z.strictObject({ manufacturer: name, product: name }).optional(),
  packageVersion: name.optional(),
  instancesPath: path.optional(),
  diskPath: path.optional(),
  diskFormat: z.enum(['qcow2', 'raw']).optional(),
  backingPath: path.optional(),
  consoleLogPath: path.optional(),
  configDrivePath: path.optional(),
  ephemeralPath: path.optional(),
  swapPath: path.optional(),
  nvramPath: path.optional(),
});

const specSchema = z.strictObject({
  name,
  uuid: uuid.optional(),
  id: count(0, 0xffffffff).optional(),
  flavor: flavorSchema,
  image: imageSchema,
  vifs: z.array(vifSchema).max(VIFS_MAX).optional(),
  createdAt: z.iso.datetime().optional(),
  projectId: name.optional(),
  userId: name.optional(),
  host: hostSchema.optional(),
});

export interface DomainSpec {
  readonly instance: Instance;
  readonly host: DomainHost;
}

/**
 * Checks a specification and fills in what it leaves out, always in the same way: equal specifications give equal
 * results. Throws `INVALID_ARGUMENT` with every problem and its path in `details.problems`.
 */
export function parseDomainSpec(json: unknown): DomainSpec {
  const parsed = specSchema.safeParse(json);
  if (!parsed.success) throw invalidSpec(parsed.error.issues.flatMap(problems));
  const spec = parsed.data;
  const instanceUuid = spec.uuid ?? derivedUuid(`instance ${spec.name}`);
  const vifs = (spec.vifs ?? []).map((vif, index) => completeVif(vif, instanceUuid, index));
  const repeated = repetitions(vifs);
  if (repeated.length > 0) throw invalidSpec(repeated);
  const id = spec.id ?? 1;
  const instance: Instance = {
    uuid: instanceUuid,
    id,
    name: instanceName(id),
    displayName: spec.name,
    flavor: completeFlavor(spec.flavor),
    image: completeImage(spec.image),
    vifs,
    createdAt: spec.createdAt ?? '1970-01-01T00:00:00Z',
    ...(spec.projectId !== undefined && { projectId: spec.projectId }),
    ...(spec.userId !== undefined && { userId: spec.userId }),
  };
  return { instance, host: completeHost(spec.host ?? {}, instanceUuid) };
}

interface Problem {
  readonly path: string;
  readonly message: string;
}

function problems(issue: z.core.$ZodIssue): Problem[] {
  const at = issue.path.reduce<string>(
    (text, key) =>
      typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`,
    '',
  );
  if (issue.code !== 'unrecognized_keys') return [{ path: at || '(top)', message: issue.message }];
  return issue.keys.slice(0, 20).map((key) => ({
    path: `${at === '' ? '' : `${at}.`}${key.slice(0, 255)}`,
    message: 'is not known here',
  }));
}

function invalidSpec(found: readonly Problem[]): ComputeError {
  const shown = found.slice(0, 50);
  const text = shown.map((problem) => `${problem.path}: ${problem.message}`).join('; ');
  return new ComputeError('INVALID_ARGUMENT', `the domain specification is not valid: ${text}`, {
    operation: 'parseDomainSpec',
    details: { problems: shown },
  });
}

function completeFlavor(flavor: z.output<typeof flavorSchema>): Flavor {
  return {
    name: flavor.name ?? `${flavor.vcpus}-vcpu-${flavor.memoryMb}-mb`,
    vcpus: flavor.vcpus,
    memoryMb: flavor.memoryMb,
    rootGb: flavor.rootGb ?? 0,
    ephemeralGb: flavor.ephemeralGb ?? 0,
    swapMb: flavor.swapMb ?? 0,
    extraSpecs: flavor.extraSpecs ?? {},
  };
}

// The document does not say where the image's bytes come from, and the XML does not need it.
function completeImage(image: z.output<typeof imageSchema>): ImageMeta {
  return {
    id: image.id,
    ...(image.name !== undefined && { name: image.name }),
    diskFormat: image.diskFormat,
    source: { type: 'file', path: '/dev/null' },
    properties: image.properties ?? {},
  };
}

function completeVif(vif: z.output<typeof vifSchema>, instanceUuid: string, index: number): Vif {
  const id = vif.id ?? derivedUuid(`port ${instanceUuid} ${index}`);
  const digest = createHash('sha1').update(`mac ${id}`).digest('hex');
  return {
    id,
    mac: vif.mac ?? `fa:16:3e:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`,
    bridge: vif.bridge ?? 'br-ncompute',
    tap: vif.tap ?? `tap${id.slice(0, 11)}`,
    ...(vif.mtu !== undefined && { mtu: vif.mtu }),
  };
}

function repetitions(vifs: readonly Vif[]): Problem[] {
  return (['id', 'mac', 'tap'] as const).flatMap((key) =>
    vifs.flatMap((vif, index) =>
      vifs.findIndex((other) => other[key] === vif[key]) < index
        ? [{ path: `vifs[${index}].${key}`, message: `${vif[key]} is taken by another of these interfaces` }]
        : [],
    ),
  );
}

function completeHost(host: z.output<typeof hostSchema>, instanceUuid: string): DomainHost {
  const { instancesPath, ...rest } = host;
  const directory = `${instancesPath ?? INSTANCES_PATH}/${instanceUuid}`;
  return {
    ...rest,
    virtType: host.virtType ?? 'qemu',
    architecture: host.architecture ?? 'x86_64',
    packageVersion: host.packageVersion ?? '0',
    diskPath: host.diskPath ?? `${directory}/disk`,
    diskFormat: host.diskFormat ?? 'qcow2',
    consoleLogPath: host.consoleLogPath ?? `${directory}/console.log`,
  };
}

/** A UUID (version 5 in form) that is always the same for the same text. */
function derivedUuid(text: string): string {
  const hex = createHash('sha1').update(`https://node-compute.dev/ ${text}`).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
