import { expect, it } from 'vitest';
import { checkedMethods } from '../../../src/agent/arguments.js';
import { decodeValue, NovaObject } from '../../../src/agent/nova-object.js';
import type { RpcInvocation } from '../../../src/agent/rpc-endpoint.js';
import { HOSTS, rows } from '../../agent/traces.js';

const invocation: RpcInvocation = {
  method: 'm',
  context: {},
  uniqueId: 'u',
  signal: new AbortController().signal,
  isRepeated: false,
};

type Args = Record<string, unknown>;

/** Whether the method began. */
function begins(args: Args): boolean {
  let count = 0;
  const { m } = checkedMethods({ m: () => count++ });
  m?.(args, invocation);
  return count === 1;
}

const requests = HOSTS.flatMap((host) => rows(host).filter(({ kind }) => kind === 'in'));
const argumentsOf = (operation: string): Args =>
  decodeValue(requests.find((row) => row.operation === operation)?.args) as Args;

it('all that the stock hosts were sent begins', () => {
  expect(requests.length).toBeGreaterThan(20);
  for (const { args } of requests) expect(begins(decodeValue(args) as Args)).toBe(true);
});

const set = (path: readonly [string, ...string[]], value: unknown) => (args: Args) => {
  const [first, ...rest] = path;
  const last = rest.pop();
  if (last === undefined) {
    args[first] = value;
    return;
  }
  let at = args[first];
  for (const step of rest) {
    if (at instanceof NovaObject) at = at.get(step);
    else at = (at as Args)[step];
  }
  if (at instanceof NovaObject) at.set(last, value);
  else (at as Args)[last] = value;
};

const mapping = (fields: Args): NovaObject =>
  NovaObject.create({ name: 'BlockDeviceMapping', version: '1.21', fields });
const nothing = NovaObject.create({ name: 'Thing', version: '1.0', fields: {} });

it.each([
  ['boot-warm', 'instance', set(['instance'], 'text')],
  ['boot-warm', 'instance', set(['instance'], { uuid: 'x' })],
  ['boot-warm', 'instance', set(['instance'], nothing)],
  ['boot-warm', 'instance.uuid', set(['instance', 'uuid'], '../x')],
  ['boot-warm', 'instance.display_name', set(['instance', 'display_name'], { a: 1 })],
  ['boot-warm', 'instance.metadata', set(['instance', 'metadata'], 'text')],
  ['boot-warm', 'instance.metadata', set(['instance', 'metadata'], { a: { b: 1 } })],
  ['boot-warm', 'instance.system_metadata', set(['instance', 'system_metadata'], [])],
  ['boot-warm', 'instance.keypairs', set(['instance', 'keypairs'], 7)],
  ['boot-warm', 'instance.keypairs[0]', set(['instance', 'keypairs'], ['key'])],
  ['boot-warm', 'instance.flavor', set(['instance', 'flavor'], 'm1.tiny')],
  ['boot-warm', 'instance.flavor.vcpus', set(['instance', 'flavor', 'vcpus'], [])],
  ['boot-warm', 'instance.flavor.memory_mb', set(['instance', 'flavor', 'memory_mb'], 2n ** 60n)],
  ['boot-warm', 'instance.flavor.root_gb', set(['instance', 'flavor', 'root_gb'], 1.5)],
  ['boot-warm', 'instance.flavor.swap', set(['instance', 'flavor', 'swap'], -1)],
  ['boot-warm', 'instance.flavor.extra_specs', set(['instance', 'flavor', 'extra_specs'], 'hw:')],
  ['boot-warm', 'image', set(['image'], 'text')],
  ['boot-warm', 'image', set(['image'], [])],
  ['boot-warm', 'image.id', set(['image', 'id'], 7)],
  ['boot-warm', 'image.min_disk', set(['image', 'min_disk'], '1')],
  ['boot-warm', 'image.properties', set(['image', 'properties'], 'hw_disk_bus')],
  ['boot-warm', 'request_spec', set(['request_spec'], 'text')],
  ['boot-warm', 'filter_properties', set(['filter_properties'], 'text')],
  ['boot-warm', 'filter_properties.retry', set(['filter_properties', 'retry'], 'text')],
  ['boot-warm', 'filter_properties.retry', set(['filter_properties', 'retry'], [])],
  ['boot-warm', 'limits', set(['limits'], 7)],
  ['boot-warm', 'bdm', set(['bdm'], {})],
  ['boot-warm', 'bdm', set(['bdm'], nothing)],
  ['boot-warm', 'bdm.volume_id', set(['bdm'], mapping({ volume_id: '../x' }))],
  ['boot-warm', 'volume_id', set(['volume_id'], 'x/../y')],
  ['boot-warm', 'device', set(['device'], 7)],
  ['boot-warm', 'multiattach', set(['multiattach'], 'yes')],
  ['boot-warm', 'admin_password', set(['admin_password'], 7)],
  ['boot-warm', 'injected_files', set(['injected_files'], { '/etc/x': 'y' })],
  ['boot-warm', 'injected_files[0]', set(['injected_files'], ['/etc/x'])],
  ['boot-warm', 'injected_files[0]', set(['injected_files'], [['/etc/x', 7]])],
  ['boot-warm', 'requested_networks', set(['requested_networks'], 'none')],
  ['boot-warm', 'requested_networks[0]', set(['requested_networks'], [nothing])],
  ['boot-warm', 'requested_networks', set(['requested_networks', 'objects'], 'none')],
  ['boot-warm', 'security_groups', set(['security_groups'], 'default')],
  ['boot-warm', 'block_device_mapping', set(['block_device_mapping'], {})],
  ['boot-warm', 'block_device_mapping', set(['block_device_mapping', 'objects'], null)],
  ['boot-warm', 'host_list', set(['host_list'], 'host')],
  ['resize', 'flavor', set(['flavor'], '2')],
  ['resize', 'migration', set(['migration'], {})],
  ['resize', 'migration.uuid', set(['migration', 'uuid'], '../allocations')],
  ['resize', 'clean_shutdown', set(['clean_shutdown'], 'true')],
  ['stop', 'clean_shutdown', set(['clean_shutdown'], 0)],
  ['reboot-hard', 'reboot_type', set(['reboot_type'], ['HARD'])],
  ['snapshot', 'image_id', set(['image_id'], {})],
  ['console', 'tail_length', set(['tail_length'], '50')],
  ['stop', 'recreate', set(['recreate'], 'yes')],
  ['stop', 'enabled', set(['enabled'], 'no')],
  ['stop', 'events[0]', set(['events'], [{}])],
] as const)('%s does not begin: %s %#', (operation, field, change) => {
  const args = argumentsOf(operation);
  change(args);
  expect(() => begins(args)).toThrow(
    expect.objectContaining({ code: 'MESSAGE_UNACCEPTABLE', details: { rule: 'argument', field } }),
  );
});

it('keys named after the prototype are data like any other', () => {
  const text = JSON.stringify(requests.find(({ operation }) => operation === 'boot-warm')?.args);
  const hostile = '{"__proto__":"x","constructor":"y",';
  const args = decodeValue(
    JSON.parse(
      text.replace(/"(metadata|extra_specs|retry)":\s*\{/g, `"$1":${hostile}`).replaceAll(',}', '}'),
    ),
  ) as Args;
  expect(begins(args)).toBe(true);
  const metadata = (args['instance'] as NovaObject).get('metadata') as Args;
  expect(Object.keys(metadata)).toEqual(['__proto__', 'constructor']);
  expect(({} as Args)['x']).toBeUndefined();
  expect(begins({ ...args, ['__proto__']: 'x', constructor: 'y', toString: 7 })).toBe(true);
});
