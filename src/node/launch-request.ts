// A launch request as it comes from outside, checked whole and once, with what it left open filled in.
import { randomUUID } from 'node:crypto';
import * as v from 'valibot';
import type { ConfigDriveContent } from '../driver/config-drive.js';
import { ComputeError } from '../driver/errors.js';
import { cleanText, imageSchema, nameText } from '../driver/image-schema.js';
import type { Flavor, ImageMeta, Instance, Vif } from '../driver/model.js';
import { check, closedObject, type Problem } from '../driver/schema.js';
import { DEFAULT_BRIDGE, generateMac, networkBridgeName, tapName } from '../network/names.js';
import { configDriveSchema } from './config-drive-request.js';
import {
  bridgeText,
  dnsServers,
  flavorSchema,
  macText,
  networkEntries,
  portIdText,
  uuidText,
  vifAddresses,
} from './instance-schema.js';

/** An instance that has no number yet. */
export type InstanceDraft = Omit<Instance, 'id' | 'name'>;

const networkSchema = closedObject({
  portId: v.optional(portIdText),
  networkId: v.optional(portIdText),
  mac: v.optional(macText),
  bridge: v.optional(bridgeText),
  ...networkEntries,
  addresses: v.exactOptional(vifAddresses),
  dnsServers: v.exactOptional(dnsServers),
});

const requestSchema = closedObject({
  uuid: v.optional(uuidText),
  name: nameText,
  flavor: flavorSchema,
  image: imageSchema,
  networks: v.optional(v.pipe(v.array(networkSchema), v.maxLength(32)), []),
  projectId: v.exactOptional(cleanText(255)),
  userId: v.exactOptional(cleanText(255)),
  configDrive: v.exactOptional(configDriveSchema),
});

export interface ParsedLaunch {
  readonly draft: InstanceDraft;
  /** Apart from the draft, which is journaled. */
  readonly configDrive: ConfigDriveContent | undefined;
}

/** Nothing that is allowed is deeper. */
const MAX_DEPTH = 6;

/**
 * @param taken Interfaces of the instances that stand, but of the one with that uuid, which is refused as a whole: a port, and
 * with it the name of a tap, can be used once.
 * @param forceConfigDrive Every instance has one, as where its image has `img_config_drive=mandatory`.
 * Throws `INVALID_ARGUMENT` with every problem in `details.problems`; values are not repeated there.
 */
export function parseLaunchRequest(
  request: unknown,
  taken: (uuid: string) => readonly Vif[] = () => [],
  forceConfigDrive = false,
): ParsedLaunch {
  const checked = check(requestSchema, withoutUndefined(request, 0));
  if (checked.problems) throw invalid(checked.problems);
  const {
    uuid = randomUUID(),
    name,
    flavor,
    image,
    networks,
    projectId,
    userId,
    configDrive,
  } = checked.value;
  const forced = forceConfigDrive || image.properties['img_config_drive'] === 'mandatory';
  const format = configDrive?.format ?? (forced ? 'openstack' : undefined);
  const draft: InstanceDraft = {
    uuid,
    displayName: name,
    flavor,
    image,
    vifs: makeVifs(networks, taken(uuid)),
    createdAt: new Date().toISOString(),
    ...(projectId !== undefined && { projectId }),
    ...(userId !== undefined && { userId }),
    ...(format !== undefined && { configDrive: format }),
  };
  return { draft, configDrive: configDrive?.content };
}

/** An image given alone, as cacheImage takes it. Throws `INVALID_ARGUMENT`. */
export function parseImage(image: unknown): ImageMeta {
  const checked = check(imageSchema, withoutUndefined(image, 0));
  if (!checked.problems) return checked.value;
  throw invalid(checked.problems.map(({ path, message }) => ({ path: ['image', ...path], message })));
}

/** Throws `INVALID_ARGUMENT` of that operation, with every problem. */
export function parseRequest<T>(schema: v.GenericSchema<unknown, T>, request: unknown, operation: string): T {
  const checked = check(schema, withoutUndefined(request, 0));
  if (!checked.problems) return checked.value;
  throw invalid(checked.problems, operation);
}

/** One more interface for an instance that stands. Throws `INVALID_ARGUMENT`. */
export function parseNetwork(request: unknown, taken: readonly Vif[]): Vif {
  const checked = check(networkSchema, withoutUndefined(request, 0));
  if (checked.problems) throw invalid(checked.problems);
  const [vif] = makeVifs([checked.value], taken);
  return vif as Vif;
}

/** A flavor given alone, as resize takes it. Throws `INVALID_ARGUMENT`. */
export function parseFlavor(flavor: unknown): Flavor {
  const checked = check(flavorSchema, withoutUndefined(flavor, 0));
  if (!checked.problems) return checked.value;
  throw invalid(checked.problems.map(({ path, message }) => ({ path: ['flavor', ...path], message })));
}

/** Throws `FLAVOR_DISK_TOO_SMALL` or `FLAVOR_MEMORY_TOO_SMALL` where the image asks for more than the flavor has. */
export function checkFlavorHoldsImage(
  uuid: string,
  flavor: Flavor,
  image: ImageMeta,
  operation = 'launch',
): void {
  const { minDiskGb = 0, minRamMb = 0 } = image;
  const context = { operation, instanceUuid: uuid };
  // A root disk of 0 takes the size of its image, whatever that is.
  if (flavor.rootGb > 0 && flavor.rootGb < minDiskGb) {
    throw new ComputeError(
      'FLAVOR_DISK_TOO_SMALL',
      `flavor ${flavor.name} has a root disk of ${flavor.rootGb} GiB, image ${image.id} asks for ${minDiskGb} GiB; choose a larger flavor`,
      { ...context, details: { rootGb: flavor.rootGb, minDiskGb } },
    );
  }
  if (flavor.memoryMb < minRamMb) {
    throw new ComputeError(
      'FLAVOR_MEMORY_TOO_SMALL',
      `flavor ${flavor.name} has ${flavor.memoryMb} MiB of memory, image ${image.id} asks for ${minRamMb} MiB; choose a larger flavor`,
      { ...context, details: { memoryMb: flavor.memoryMb, minRamMb } },
    );
  }
}

/** GiB to claim. A root disk of 0 GiB grows to its image's size: what is known of that before it is fetched. */
export function diskClaimGb({ flavor, image }: Pick<Instance, 'flavor' | 'image'>): number {
  const declared = image.diskFormat === 'raw' ? Math.ceil((image.sizeBytes ?? 0) / 2 ** 30) : 0;
  const root = flavor.rootGb > 0 ? flavor.rootGb : Math.max(image.minDiskGb ?? 0, declared);
  return root + flavor.ephemeralGb + Math.ceil(flavor.swapMb / 1024);
}

function makeVifs(networks: v.InferOutput<typeof requestSchema>['networks'], taken: readonly Vif[]): Vif[] {
  const macs = new Set(taken.map(({ mac }) => mac));
  const taps = new Set(taken.map(({ tap }) => tap));
  return networks.map(
    ({ portId = randomUUID(), mac = generateMac(macs), bridge, networkId, ...network }, index) => {
      checkUplink(network, bridge ?? networkId, index);
      const vif: Vif = {
        id: portId,
        mac,
        bridge: bridge ?? (networkId === undefined ? DEFAULT_BRIDGE : networkBridgeName(networkId)),
        tap: tapName(portId),
        ...network,
      };
      if (taps.has(vif.tap))
        throw invalid([{ path: ['networks', index, 'portId'], message: 'the port is in use' }]);
      if (macs.has(vif.mac))
        throw invalid([{ path: ['networks', index, 'mac'], message: 'the address is in use' }]);
      taps.add(vif.tap);
      macs.add(vif.mac);
      return vif;
    },
  );
}

/** The default bridge is for guests alone: what reaches a network of the host has a bridge of its own. */
function checkUplink(
  { virtualPort, physicalInterface, vlan, evenWithAddresses }: Partial<Vif>,
  bridge: string | undefined,
  index: number,
): void {
  const path = ['networks', index];
  if (physicalInterface === undefined && (vlan !== undefined || evenWithAddresses !== undefined)) {
    throw invalid([{ path, message: 'vlan and evenWithAddresses need a physicalInterface' }]);
  }
  if (virtualPort !== undefined && (bridge === undefined || physicalInterface !== undefined)) {
    throw invalid([{ path, message: 'a virtualPort needs a bridge, and takes no physicalInterface' }]);
  }
  if (physicalInterface !== undefined && bridge === undefined) {
    throw invalid([{ path, message: 'a physicalInterface needs a networkId or a bridge' }]);
  }
}

/** An absent key and one that is undefined mean the same. Bounded, so that a deep message cannot exhaust the stack. */
function withoutUndefined(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH)
    throw invalid([{ path: [], message: `is nested more than ${MAX_DEPTH} levels deep` }]);
  if (Array.isArray(value)) return value.map((item) => withoutUndefined(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, withoutUndefined(item, depth + 1)]),
  );
}

function invalid(problems: readonly Problem[], operation = 'launch'): ComputeError {
  const shown = problems.slice(0, 16).map(({ path, message }) => ({ path: path.join('.'), message }));
  const list = shown.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
  return new ComputeError(
    'INVALID_ARGUMENT',
    `the ${operation} request is not valid: ${list}`.slice(0, 2000),
    {
      operation,
      details: { problems: shown },
    },
  );
}
