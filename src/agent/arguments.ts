// What the arguments of Nova's methods have to be: looked at before a method begins, so that a wrong one changes nothing.
import { unacceptable } from './errors.js';
import { isUuid } from './instance-record.js';
import { NovaObject } from './nova-object.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** Throws `MESSAGE_UNACCEPTABLE` with the path of what is wrong. */
type Check = (value: unknown, path: string) => void;
type Fields = Readonly<Record<string, Check>>;

function is(what: string, test: (value: unknown) => boolean): Check {
  return (value, path) => {
    if (!test(value)) throw unacceptable('argument', `${path} is not ${what}`, path);
  };
}

function optional(check: Check): Check {
  return (value, path) => {
    if (value != null) check(value, path);
  };
}

/** Keys are the message's own, so that an item is told by its dictionary alone. */
function dictionary(item: Check = () => undefined): Check {
  return (value, path) => {
    isDictionary(value, path);
    for (const each of Object.values(value as object)) item(each, path);
  };
}

function list(item: Check = () => undefined): Check {
  return (value, path) => {
    isList(value, path);
    for (const [index, each] of (value as readonly unknown[]).entries()) item(each, `${path}[${index}]`);
  };
}

function object(name: string, fields: Fields = {}): Check {
  const isNamed = is(`an object ${name}`, (value) => value instanceof NovaObject && value.name === name);
  return (value, path) => {
    isNamed(value, path);
    checkFields(fields, (field) => (value as NovaObject).get(field), path);
  };
}

/** A list object of Nova's, or a plain list of objects. */
function objects(item: Check): Check {
  return (value, path) => list(item)(value instanceof NovaObject ? value.get('objects') : value, path);
}

function either(first: Check, second: Check): Check {
  return (value, path) => (value instanceof NovaObject ? first : second)(value, path);
}

function checkFields(fields: Fields, read: (field: string) => unknown, path: string): void {
  for (const [field, check] of Object.entries(fields)) check(read(field), `${path}.${field}`);
}

const isDictionary = is(
  'an object',
  (value) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof NovaObject),
);
const isList = is('a list', Array.isArray);
const anyObject = is('an object of Nova', (value) => value instanceof NovaObject);
const text = is('a text', (value) => typeof value === 'string');
const flag = is('true or false', (value) => typeof value === 'boolean');
const integer = is('a whole number', Number.isSafeInteger);
const count = is('a whole number of 0 or more', (value) => Number.isSafeInteger(value) && Number(value) >= 0);
const uuid = is('a uuid', isUuid);
const scalar = is('a dictionary of plain values', (value) => typeof value !== 'object' || value === null);
const scalars = optional(dictionary(scalar));
const file = is(
  'a path and its contents',
  (value) => Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string'),
);
const maybeText = optional(text);
const maybeFlag = optional(flag);

const flavor = object('Flavor', {
  name: text,
  vcpus: count,
  memory_mb: count,
  root_gb: count,
  ephemeral_gb: optional(count),
  swap: optional(count),
  extra_specs: scalars,
});

const instance = object('Instance', {
  uuid,
  display_name: maybeText,
  hostname: maybeText,
  host: maybeText,
  image_ref: maybeText,
  availability_zone: maybeText,
  user_data: maybeText,
  config_drive: maybeText,
  metadata: scalars,
  system_metadata: scalars,
  flavor: optional(flavor),
  old_flavor: optional(flavor),
  new_flavor: optional(flavor),
  keypairs: optional(objects(object('KeyPair', { name: text, public_key: text }))),
});

const image = dictionary();
const imageFields: Fields = {
  id: maybeText,
  name: maybeText,
  min_disk: optional(count),
  min_ram: optional(count),
  properties: scalars,
};

/** An argument has the same name, and is the same, in all methods that have it. Those without a line here are used by none, or checked by it. */
const ARGUMENTS: Fields = {
  instance: optional(instance),
  instances: optional(objects(object('Instance'))),
  image: optional((value, path) => {
    image(value, path);
    const given = value as Readonly<Record<string, unknown>>;
    checkFields(imageFields, (field) => (Object.hasOwn(given, field) ? given[field] : undefined), path);
  }),
  request_spec: optional(either(anyObject, dictionary())),
  filter_properties: optional((value, path) => {
    dictionary()(value, path);
    optional(dictionary())((value as { readonly retry?: unknown }).retry, `${path}.retry`);
  }),
  limits: optional(either(anyObject, dictionary())),
  admin_password: maybeText,
  new_pass: maybeText,
  rescue_password: maybeText,
  injected_files: optional(list(file)),
  requested_networks: optional(objects(object('NetworkRequest', { network_id: maybeText }))),
  security_groups: optional(either(anyObject, list())),
  block_device_mapping: optional(
    objects(object('BlockDeviceMapping', { destination_type: maybeText, boot_index: optional(integer) })),
  ),
  bdms: optional(objects(object('BlockDeviceMapping'))),
  bdm: optional(object('BlockDeviceMapping', { volume_id: uuid })),
  volume_id: optional(uuid),
  old_volume_id: optional(uuid),
  new_volume_id: optional(uuid),
  new_attachment_id: optional(uuid),
  device: maybeText,
  disk_bus: maybeText,
  device_type: maybeText,
  multiattach: maybeFlag,
  host_list: optional(list()),
  flavor: optional(flavor),
  migration: optional(object('Migration', { uuid, instance_uuid: uuid })),
  clean_shutdown: maybeFlag,
  reboot_type: maybeText,
  image_id: maybeText,
  image_ref: maybeText,
  rescue_image_ref: maybeText,
  recreate: maybeFlag,
  evacuate: maybeFlag,
  preserve_ephemeral: maybeFlag,
  on_shared_storage: maybeFlag,
  tail_length: optional(integer),
  image_ids: optional(list(text)),
  network_id: maybeText,
  port_id: maybeText,
  requested_ip: maybeText,
  tag: maybeText,
  console_type: maybeText,
  port: maybeText,
  events: optional(objects(anyObject)),
  enabled: maybeFlag,
};

/** The same methods, each of which begins only with arguments of the types that it reads. */
export function checkedMethods(methods: Readonly<Record<string, RpcMethod>>): Record<string, RpcMethod> {
  return Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, checkedMethod(method)]));
}

function checkedMethod(method: RpcMethod): RpcMethod {
  const { abandon, refuse } = method;
  const checked: RpcMethod = (args, invocation) => {
    try {
      checkArguments(args);
    } catch (error) {
      if (!refuse) throw error;
      return refuse(args, invocation, error).then(() => Promise.reject(error));
    }
    return method(args, invocation);
  };
  return abandon ? Object.assign(checked, { abandon }) : checked;
}

function checkArguments(args: Readonly<Record<string, unknown>>): void {
  for (const [argument, value] of Object.entries(args)) {
    if (Object.hasOwn(ARGUMENTS, argument)) ARGUMENTS[argument]?.(value, argument);
  }
}
