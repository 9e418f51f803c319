// The JSON specification of a domain: what `node-compute domain-xml` reads. docs/domain-xml.md describes it.
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import type { Flavor, ImageMeta, Instance, Vif } from '../driver/model.js';
import { instanceName } from '../driver/model.js';
import { check, closedObject, dictionary, integer, type Problem } from '../driver/schema.js';
import { attachedVolumeSchema } from '../driver/volume-schema.js';
import { FILTER_NAME } from '../network/names.js';
import { ARCHITECTURES, CPU_MODES, DISK_CACHES, type DomainHost } from './xml/host.js';

const VIFS_MAX = 64;
const TERMS_MAX = 256;
const INSTANCES_PATH = '/var/lib/node-compute/instances';

const name = v.pipe(v.string(), v.minLength(1), v.maxLength(255));
const uuid = v.pipe(
  v.string(),
  v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'must be a UUID in lower case'),
);
const path = v.pipe(v.string(), v.maxLength(4095), v.regex(/^\/[^\0\n]*$/, 'must be an absolute path'));
const interfaceName = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/,
    'must be 1 to 15 of A-Z a-z 0-9 _ . - and not begin with . or -',
  ),
);
const mac = v.pipe(
  v.string(),
  v.regex(/^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$/, 'must be six pairs of hexadecimal digits with colons'),
  v.toLowerCase(),
  v.check((text) => (Number.parseInt(text.slice(0, 2), 16) & 1) === 0, 'must be a unicast address'),
  v.check((text) => text !== '00:00:00:00:00:00', 'must not be all zero'),
);
const scalar = v.pipe(
  v.union(
    [v.pipe(v.string(), v.maxLength(4096)), v.boolean(), v.pipe(v.number(), v.finite())],
    'must be a string, a number or a boolean',
  ),
  v.transform(String),
);
const terms = v.pipe(
  dictionary(name, scalar),
  v.maxEntries(TERMS_MAX, `must not have more than ${TERMS_MAX} entries`),
);
/** Without a zone: libvirt and QEMU take none. */
const ipAddress = v.pipe(
  v.string(),
  v.check((text) => isIP(text) !== 0 && !text.includes('%'), 'must be an IP address'),
);
const time = v.pipe(v.string(), v.check(isUtcTime, 'must be a time in UTC such as 2026-01-31T12:00:00Z'));

/** What Date makes of a day or an hour that does not exist is another one. */
function isUtcTime(text: string): boolean {
  const date = new Date(text);
  return (
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(text) &&
    !Number.isNaN(date.getTime()) &&
    date.toISOString().startsWith(text.slice(0, 19))
  );
}

const flavorSchema = closedObject({
  name: v.optional(name),
  vcpus: integer(1, 4096),
  memoryMb: integer(1, 16 * 1024 * 1024),
  rootGb: v.optional(integer(0, 1024 * 1024)),
  ephemeralGb: v.optional(integer(0, 1024 * 1024)),
  swapMb: v.optional(integer(0, 1024 * 1024 * 1024)),
  extraSpecs: v.optional(terms),
});

const imageSchema = closedObject({
  id: name,
  name: v.optional(name),
  diskFormat: v.picklist(['raw', 'qcow2', 'vmdk', 'vhd', 'vhdx', 'vdi', 'iso', 'ploop', 'ami', 'ari', 'aki']),
  properties: v.optional(terms),
});

const filterName = v.pipe(v.string(), v.regex(FILTER_NAME, 'must be the name of a network filter'));

const addressSchema = closedObject({
  address: ipAddress,
  prefixLength: integer(0, 128),
  gateway: v.exactOptional(ipAddress),
});

const vifSchema = closedObject({
  id: v.optional(uuid),
  mac: v.optional(mac),
  bridge: v.optional(interfaceName),
  tap: v.optional(interfaceName),
  mtu: v.optional(integer(68, 65535)),
  addresses: v.exactOptional(v.pipe(v.array(addressSchema), v.maxLength(16))),
  virtualPort: v.exactOptional(v.literal('openvswitch')),
  filter: v.exactOptional(filterName),
});

const cpus = v.pipe(v.array(integer(0, 65535)), v.maxLength(4096));

const hostSchema = closedObject({
  virtType: v.optional(v.picklist(['kvm', 'qemu'])),
  architecture: v.optional(v.picklist(ARCHITECTURES)),
  emulator: v.optional(path),
  machine: v.optional(
    v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a machine type of QEMU')),
  ),
  pciePorts: v.optional(integer(0, 28)),
  cpuMode: v.optional(v.picklist(CPU_MODES)),
  cpuModel: v.optional(
    v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be a CPU model of libvirt')),
  ),
  cpuTune: v.optional(v.boolean()),
  swtpm: v.optional(v.boolean()),
  secureBoot: v.optional(v.boolean()),
  pinning: v.optional(
    closedObject({
      dedicated: cpus,
      shared: v.optional(cpus),
      emulator: v.optional(cpus),
      nodes: v.optional(v.pipe(v.array(integer(0, 1023)), v.maxLength(128))),
      pageSizeKib: v.optional(integer(1, 16 * 1024 ** 2)),
    }),
  ),
  vncListen: v.optional(ipAddress),
  vhostNet: v.optional(v.boolean()),
  maxQueues: v.optional(integer(1, 256)),
  vifFilter: v.optional(filterName),
  diskCache: v.optional(v.picklist(DISK_CACHES)),
  memoryStatsPeriodSeconds: v.optional(integer(0, 3600)),
  rngDevice: v.optional(path),
  smbios: v.optional(closedObject({ manufacturer: name, product: name })),
  packageVersion: v.optional(name),
  instancesPath: v.optional(path),
  diskPath: v.optional(path),
  diskFormat: v.optional(v.picklist(['qcow2', 'raw'])),
  backingPath: v.optional(path),
  backingFormat: v.optional(v.picklist(['qcow2', 'raw'])),
  consoleLogPath: v.optional(path),
  configDrivePath: v.optional(path),
  ephemeralPath: v.optional(path),
  ephemeralFormat: v.optional(v.picklist(['qcow2', 'raw'])),
  ephemeralBackingPath: v.optional(path),
  swapPath: v.optional(path),
  swapBackingPath: v.optional(path),
  rescuePath: v.optional(path),
  rescueFormat: v.optional(v.picklist(['qcow2', 'raw'])),
  rescueDevice: v.optional(v.picklist(['disk', 'cdrom'])),
  rescueBus: v.optional(v.picklist(['virtio', 'scsi', 'sata', 'ide', 'usb'])),
  rescueOrder: v.optional(v.picklist(['first', 'last'])),
  rescueBackingPath: v.optional(path),
  rescueBackingFormat: v.optional(v.picklist(['qcow2', 'raw'])),
  nvramPath: v.optional(path),
});

const specSchema = closedObject({
  name,
  uuid: v.optional(uuid),
  id: v.optional(integer(0, 0xffffffff)),
  flavor: flavorSchema,
  image: imageSchema,
  vifs: v.optional(v.pipe(v.array(vifSchema), v.maxLength(VIFS_MAX))),
  volumes: v.exactOptional(v.pipe(v.array(attachedVolumeSchema), v.maxLength(256))),
  createdAt: v.optional(time),
  projectId: v.optional(name),
  userId: v.optional(name),
  configDrive: v.optional(v.picklist(['openstack', 'nocloud'])),
  host: v.optional(hostSchema),
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
  const checked = check(specSchema, json);
  if (checked.problems) throw invalidSpec(checked.problems);
  const spec = checked.value;
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
    ...(spec.volumes !== undefined && { volumes: spec.volumes }),
    createdAt: spec.createdAt ?? '1970-01-01T00:00:00Z',
    ...(spec.projectId !== undefined && { projectId: spec.projectId }),
    ...(spec.userId !== undefined && { userId: spec.userId }),
    ...(spec.configDrive !== undefined && { configDrive: spec.configDrive }),
  };
  return { instance, host: completeHost(spec.host ?? {}, instance) };
}

function invalidSpec(found: readonly Problem[]): ComputeError {
  const shown = found.slice(0, 50).map(({ path, message }) => ({ path: written(path), message }));
  const text = shown.map((problem) => `${problem.path}: ${problem.message}`).join('; ');
  return new ComputeError('INVALID_ARGUMENT', `the domain specification is not valid: ${text}`, {
    operation: 'parseDomainSpec',
    details: { problems: shown },
  });
}

/** As JavaScript writes it: `vifs[0].mac`. */
function written(path: Problem['path']): string {
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
  return text.replace(/^\./, '') || '(top)';
}

function completeFlavor(flavor: v.InferOutput<typeof flavorSchema>): Flavor {
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
function completeImage(image: v.InferOutput<typeof imageSchema>): ImageMeta {
  return {
    id: image.id,
    ...(image.name !== undefined && { name: image.name }),
    diskFormat: image.diskFormat,
    source: { type: 'file', path: '/dev/null' },
    properties: image.properties ?? {},
  };
}

function completeVif(vif: v.InferOutput<typeof vifSchema>, instanceUuid: string, index: number): Vif {
  const id = vif.id ?? derivedUuid(`port ${instanceUuid} ${index}`);
  const digest = createHash('sha1').update(`mac ${id}`).digest('hex');
  return {
    id,
    mac: vif.mac ?? `fa:16:3e:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`,
    bridge: vif.bridge ?? 'br-ncompute',
    tap: vif.tap ?? `tap${id.slice(0, 11)}`,
    ...(vif.mtu !== undefined && { mtu: vif.mtu }),
    ...(vif.addresses !== undefined && { addresses: vif.addresses }),
    ...(vif.virtualPort !== undefined && { virtualPort: vif.virtualPort }),
    ...(vif.filter !== undefined && { filter: vif.filter }),
  };
}

function repetitions(vifs: readonly Vif[]): Problem[] {
  return (['id', 'mac', 'tap'] as const).flatMap((key) =>
    vifs.flatMap((vif, index) =>
      vifs.findIndex((other) => other[key] === vif[key]) < index
        ? [{ path: ['vifs', index, key], message: `${vif[key]} is taken by another of these interfaces` }]
        : [],
    ),
  );
}

function completeHost(
  host: v.InferOutput<typeof hostSchema>,
  { uuid, configDrive }: Pick<Instance, 'uuid' | 'configDrive'>,
): DomainHost {
  const { instancesPath, ...rest } = host;
  const directory = `${instancesPath ?? INSTANCES_PATH}/${uuid}`;
  return {
    ...rest,
    virtType: host.virtType ?? 'qemu',
    architecture: host.architecture ?? 'x86_64',
    packageVersion: host.packageVersion ?? '0',
    diskPath: host.diskPath ?? `${directory}/disk`,
    diskFormat: host.diskFormat ?? 'qcow2',
    ephemeralPath: host.ephemeralPath ?? `${directory}/disk.local`,
    swapPath: host.swapPath ?? `${directory}/disk.swap`,
    configDrivePath: host.configDrivePath ?? (configDrive && `${directory}/disk.config`),
    consoleLogPath: host.consoleLogPath ?? `${directory}/console.log`,
  };
}

/** A UUID (version 5 in form) that is always the same for the same text. */
function derivedUuid(text: string): string {
  const hex = createHash('sha1').update(`https://node-compute.dev/ ${text}`).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
