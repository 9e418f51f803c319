// Flavor and instance as they are allowed to come in: from a caller's request, and back from our own journal.
import { isIP, isIPv6 } from 'node:net';
import * as v from 'valibot';
import type { ConfigDriveFormat } from '../driver/config-drive.js';
import { isInstanceUuid, MAX_INSTANCE_ID } from '../driver/identity.js';
import {
  cleanText,
  diskGb,
  imageSchema,
  MAX_MEMORY_MB,
  nameText,
  properties,
} from '../driver/image-schema.js';
import type { Flavor, Instance, Vif, VifAddress } from '../driver/model.js';
import type { InstancePlacement } from '../driver/placement.js';
import { closedObject, integer } from '../driver/schema.js';
import type { AttachedVolume } from '../driver/volume.js';
import { attachedVolumeSchema } from '../driver/volume-schema.js';
import {
  checkBridgeName,
  checkFilterName,
  checkInterfaceName,
  checkMac,
  checkMtu,
  checkTapName,
  checkVlan,
} from '../network/names.js';

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

/** What a VIF may say of its network beyond the bridge. */
export const networkEntries: {
  readonly mtu: v.ExactOptionalSchema<v.GenericSchema<number>, undefined>;
  readonly virtualPort: v.ExactOptionalSchema<v.GenericSchema<'openvswitch'>, undefined>;
  readonly physicalInterface: v.ExactOptionalSchema<v.GenericSchema<string>, undefined>;
  readonly vlan: v.ExactOptionalSchema<v.GenericSchema<number>, undefined>;
  readonly evenWithAddresses: v.ExactOptionalSchema<v.GenericSchema<boolean>, undefined>;
  readonly filter: v.ExactOptionalSchema<v.GenericSchema<string>, undefined>;
} = {
  mtu: v.exactOptional(mtuNumber),
  virtualPort: v.exactOptional(v.literal('openvswitch')),
  physicalInterface: v.exactOptional(checked(interfaceText, checkInterfaceName)),
  vlan: v.exactOptional(checked(v.number(), checkVlan)),
  evenWithAddresses: v.exactOptional(v.boolean()),
  filter: v.exactOptional(checked(v.pipe(v.string(), v.maxLength(64)), checkFilterName)),
};

const ipText = v.pipe(
  v.string(),
  v.check((text) => isIP(text) !== 0 && !text.includes('%'), 'is not an IP address'),
);

const vifAddress = v.pipe(
  closedObject({
    address: ipText,
    prefixLength: integer(0, 128),
    gateway: v.exactOptional(ipText),
  }),
  v.check(
    ({ address, prefixLength }) => prefixLength <= 32 || isIPv6(address),
    'has a prefix longer than 32',
  ),
  v.check(
    ({ address, gateway }) => gateway === undefined || isIP(gateway) === isIP(address),
    'has a gateway of the other version of IP',
  ),
);

export const vifAddresses: v.GenericSchema<unknown, VifAddress[]> = v.pipe(
  v.array(vifAddress),
  v.maxLength(16),
);
export const dnsServers: v.GenericSchema<unknown, string[]> = v.pipe(v.array(ipText), v.maxLength(8));

export const configDriveFormat: v.GenericSchema<unknown, ConfigDriveFormat> = v.picklist([
  'openstack',
  'nocloud',
]);

export const flavorSchema: v.GenericSchema<unknown, Flavor> = closedObject({
  name: v.optional(nameText, 'custom'),
  vcpus: integer(1, 1024),
  memoryMb: integer(1, MAX_MEMORY_MB),
  rootGb: v.optional(diskGb, 0),
  ephemeralGb: v.optional(diskGb, 0),
  swapMb: v.optional(integer(0, MAX_MEMORY_MB), 0),
  extraSpecs: v.optional(properties(1024), {}),
});

export const vifSchema: v.GenericSchema<unknown, Vif> = v.object({
  id: portIdText,
  mac: macText,
  bridge: bridgeText,
  tap: checked(interfaceText, checkTapName),
  ...networkEntries,
  addresses: v.exactOptional(vifAddresses),
  dnsServers: v.exactOptional(dnsServers),
});

/** Of one instance; libvirt and guests have less room. */
export const MAX_VIFS = 64;
export const MAX_VOLUMES = 256;

export const vifsSchema: v.GenericSchema<unknown, Vif[]> = v.pipe(v.array(vifSchema), v.maxLength(MAX_VIFS));

export const volumesSchema: v.GenericSchema<unknown, AttachedVolume[]> = v.pipe(
  v.array(attachedVolumeSchema),
  v.maxLength(MAX_VOLUMES),
);

const hostNumbers = v.pipe(v.array(integer(0, 65_535)), v.maxLength(4096));

export const placementSchema: v.GenericSchema<unknown, InstancePlacement> = v.object({
  dedicated: hostNumbers,
  shared: v.exactOptional(hostNumbers),
  emulator: v.exactOptional(hostNumbers),
  nodes: hostNumbers,
  pageSizeKib: v.exactOptional(integer(1)),
});

/** As the journal holds it; unknown keys are dropped, a later version may have written them. */
export const instanceSchema: v.GenericSchema<unknown, Instance> = v.object({
  uuid: uuidText,
  id: integer(1, MAX_INSTANCE_ID),
  name: v.pipe(v.string(), v.regex(/^instance-[0-9a-f]{8}$/)),
  displayName: nameText,
  flavor: flavorSchema,
  image: imageSchema,
  vifs: vifsSchema,
  volumes: v.exactOptional(volumesSchema),
  createdAt: v.pipe(v.string(), v.maxLength(64)),
  projectId: v.exactOptional(cleanText(255)),
  userId: v.exactOptional(cleanText(255)),
  configDrive: v.exactOptional(configDriveFormat),
  placement: v.exactOptional(placementSchema),
});
