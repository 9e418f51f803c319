// A build request in Nova's words, as a launch request in ours.
import { ComputeError } from '../driver/errors.js';
import type { ConfigDriveRequest, LaunchRequest } from '../node/types.js';
import type { CommandArguments } from './instance-command.js';
import { textOf, uuidOf } from './instance-record.js';
import { NovaObject } from './nova-object.js';

type Fields = Readonly<Record<string, unknown>>;

/** Nova's ImageMetaProps, with the three old names that are still in use. */
const PROPERTY = /^(?:hw_|img_|os_)|^(?:architecture|vm_mode|hypervisor_type)$/;

/** Throws `UNSUPPORTED` for what this host has not: volumes, no image. Networks are asked for apart. `INVALID_ARGUMENT` follows at the launch. */
export function launchRequest(instance: NovaObject, args: CommandArguments): LaunchRequest {
  const uuid = uuidOf(instance);
  refuseVolumes(uuid, itemsOf(args['block_device_mapping']));
  const { admin_password: password, injected_files: files } = args;
  const configDrive = configDriveOf(instance, { password, files });
  return {
    uuid,
    name: String(instance.get('display_name') || instance.get('hostname') || uuid),
    flavor: flavorOf(instance.get('flavor')),
    image: imageOf(uuid, args['image']),
    ...ownerOf(instance),
    ...(configDrive && { configDrive }),
  };
}

/** Throws `UNSUPPORTED` where there is none. */
export function flavorOf(flavor: unknown): LaunchRequest['flavor'] {
  if (!(flavor instanceof NovaObject)) {
    throw new ComputeError('UNSUPPORTED', 'the message has no flavor', { operation: 'launch' });
  }
  const number = (field: string): number => Number(flavor.get(field) ?? 0);
  return {
    name: textOf(flavor, 'name'),
    vcpus: number('vcpus'),
    memoryMb: number('memory_mb'),
    rootGb: number('root_gb'),
    ephemeralGb: number('ephemeral_gb'),
    swapMb: number('swap'),
    extraSpecs: texts((flavor.get('extra_specs') ?? {}) as Fields),
  };
}

/** Of Glance's metadata, as the API passes them on. */
export function imageOf(instanceUuid: string, given: unknown): LaunchRequest['image'] {
  const image = (given ?? {}) as Fields;
  const { id, name, size } = image;
  if (typeof id !== 'string' || id === '') {
    throw new ComputeError('UNSUPPORTED', `instance ${instanceUuid} has no image to start from`, {
      operation: 'launch',
      instanceUuid,
    });
  }
  const properties = texts((image['properties'] ?? {}) as Fields);
  return {
    id,
    ...(typeof name === 'string' && { name }),
    // Whatever it is: the launch refuses what it does not know.
    diskFormat: image['disk_format'] as LaunchRequest['image']['diskFormat'],
    source: { type: 'glance' },
    ...(typeof size === 'number' && size > 0 && { sizeBytes: size }),
    minDiskGb: Number(image['min_disk'] ?? 0),
    minRamMb: Number(image['min_ram'] ?? 0),
    ...checksumOf(image),
    properties: Object.fromEntries(Object.entries(properties).filter(([key]) => PROPERTY.test(key))),
  };
}

/** The items of a list object, or of a plain list. */
export function itemsOf(list: unknown): readonly NovaObject[] {
  const items = list instanceof NovaObject ? list.get('objects') : list;
  return Array.isArray(items) ? items.filter((item) => item instanceof NovaObject) : [];
}

/** Nova's name of the root disk. */
export function rootDevice(request: Pick<LaunchRequest, 'image'>): string {
  const bus = request.image.properties?.['hw_disk_bus'] ?? 'virtio';
  return `/dev/${bus === 'virtio' ? 'vda' : bus === 'ide' ? 'hda' : 'sda'}`;
}

function refuseVolumes(instanceUuid: string, mappings: readonly NovaObject[]): void {
  if (mappings.every((mapping) => mapping.get('destination_type') !== 'volume')) return;
  throw new ComputeError(
    'UNSUPPORTED',
    `instance ${instanceUuid} asks for volumes of Cinder, with which this host builds none; boot it from an image, and attach them then`,
    { operation: 'launch', instanceUuid },
  );
}

function ownerOf(instance: NovaObject): Pick<LaunchRequest, 'projectId' | 'userId'> {
  const [projectId, userId] = [instance.get('project_id'), instance.get('user_id')];
  return {
    ...(typeof projectId === 'string' && { projectId }),
    ...(typeof userId === 'string' && { userId }),
  };
}

/**
 * Undefined where the instance has none: Nova keeps the wish as a text, empty is no. Keys, files and passwords reach a guest
 * by its drive alone; `injected` are those that come with a command and are stored nowhere.
 */
export function configDriveOf(
  instance: NovaObject,
  injected: { readonly password?: unknown; readonly files?: unknown },
): ConfigDriveRequest | undefined {
  const wish = instance.get('config_drive');
  if (typeof wish !== 'string' || !['true', '1', 'yes', 'on', 't', 'y'].includes(wish.toLowerCase()))
    return undefined;
  const text = (name: string, field: string): object => {
    const value = instance.get(field);
    return typeof value === 'string' && value !== '' ? { [name]: value } : {};
  };
  const files = ((injected.files ?? []) as readonly (readonly [string, string])[]).map(
    ([path, contents]) => ({ path, contents }),
  );
  const { password: adminPassword } = injected;
  return {
    ...text('hostname', 'hostname'),
    ...text('availabilityZone', 'availability_zone'),
    ...text('userData', 'user_data'),
    metadata: texts((instance.get('metadata') ?? {}) as Fields),
    keys: keysOf(instance),
    files,
    ...(typeof adminPassword === 'string' && adminPassword !== '' && { adminPassword }),
  };
}

/** Its key pairs come with a build alone; the one that every instance names is the first of them. */
function keysOf(instance: NovaObject): NonNullable<ConfigDriveRequest['keys']> {
  const pairs = instance.get('keypairs');
  if (pairs != null) {
    return itemsOf(pairs).map((key) => ({
      name: textOf(key, 'name'),
      publicKey: textOf(key, 'public_key').trim(),
    }));
  }
  const [name, data] = [instance.get('key_name'), instance.get('key_data')];
  return typeof name === 'string' && typeof data === 'string' ? [{ name, publicKey: data.trim() }] : [];
}

/** Of Glance's two the stronger. */
function checksumOf(image: Fields): Pick<LaunchRequest['image'], 'checksum'> {
  const { os_hash_algo: algorithm, os_hash_value: value, checksum } = image;
  if (typeof value === 'string' && (algorithm === 'sha512' || algorithm === 'sha256')) {
    return { checksum: { algorithm, value } };
  }
  return typeof checksum === 'string' ? { checksum: { algorithm: 'md5', value: checksum } } : {};
}

function texts(values: Fields): Record<string, string> {
  const entries = Object.entries(values).filter(([, value]) => value !== null && typeof value !== 'object');
  return Object.fromEntries(entries.map(([key, value]) => [key, String(value)]));
}
