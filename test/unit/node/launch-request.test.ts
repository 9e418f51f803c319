// What comes from outside is refused whole, with every problem named, or becomes an instance that no layer below doubts.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkInstanceUuid } from '../../../src/driver/identity.js';
import { ComputeError } from '../../../src/index.js';
import { diskClaimGb, parseLaunchRequest } from '../../../src/node/launch-request.js';
import { request, UUID } from '../../fault/node-harness.js';

type Problem = { readonly path: string; readonly message: string };

function problemsOf(value: unknown): Problem[] {
  try {
    parseLaunchRequest(value);
  } catch (error) {
    if (!ComputeError.is(error)) throw error;
    expect(error.code).toBe('INVALID_ARGUMENT');
    return error.details['problems'] as Problem[];
  }
  throw new Error('the request was accepted');
}

const paths = (value: unknown): string[] => problemsOf(value).map(({ path }) => path);

describe('a launch request', () => {
  it('is filled in with what it left open', () => {
    const { draft } = parseLaunchRequest({
      name: 'guest',
      flavor: { vcpus: 2, memoryMb: 64 },
      image: { id: 'i', diskFormat: 'raw', source: { type: 'http', url: 'https://images.invalid/i' } },
      networks: [{}, { bridge: 'br0', mtu: 9000 }],
    });
    checkInstanceUuid(draft.uuid, 'test');
    expect(draft.flavor).toEqual({
      name: 'custom',
      vcpus: 2,
      memoryMb: 64,
      rootGb: 0,
      ephemeralGb: 0,
      swapMb: 0,
      extraSpecs: {},
    });
    expect(draft.image.properties).toEqual({});
    expect(draft.vifs).toEqual([
      {
        id: expect.any(String),
        mac: expect.stringMatching(/^fa:16:3e:/),
        bridge: 'br-ncompute',
        tap: `tap${draft.vifs[0]?.id.slice(0, 11)}`,
      },
      expect.objectContaining({ bridge: 'br0', mtu: 9000 }),
    ]);
    expect(new Set(draft.vifs.map(({ mac }) => mac)).size).toBe(2);
    expect(Date.parse(draft.createdAt)).toBeGreaterThan(0);
    expect('projectId' in draft).toBe(false);
  });

  it('names the bridge of a network as Neutron does, and keeps what the network is on', () => {
    const networkId = '1B9D6BCD-bbfd-4b2d-9b5d-ab8dfbbd4bed';
    const uplink = { physicalInterface: 'eth1', vlan: 101, evenWithAddresses: false };
    const networks = [
      { networkId, ...uplink, filter: 'clean-traffic' },
      { networkId, bridge: 'br0' },
    ];
    const { draft } = parseLaunchRequest({ ...request(), networks });
    expect(draft.vifs).toMatchObject([
      { bridge: 'brq1b9d6bcd-bb', ...uplink, filter: 'clean-traffic' },
      { bridge: 'br0' },
    ]);
    expect(Object.keys(draft.vifs[1] ?? {})).toEqual(['id', 'mac', 'bridge', 'tap']);
  });

  it('may hold undefined where it may hold nothing', () => {
    const { image, flavor } = request();
    const { draft } = parseLaunchRequest({
      ...request(),
      uuid: undefined,
      projectId: undefined,
      flavor: { ...flavor, swapMb: undefined },
      image: { ...image, checksum: undefined, properties: undefined },
    });
    expect(draft.flavor.swapMb).toBe(0);
    expect(Object.keys(draft)).not.toContain('projectId');
  });

  it('is told all its problems at once, none with its value', () => {
    const secret = 'sesame\0';
    const problems = problemsOf({
      ...request(),
      uuid: 'none',
      name: secret,
      flavor: { vcpus: 0, memoryMb: 1.5 },
    });
    expect(problems.map(({ path }) => path).sort()).toEqual([
      'flavor.memoryMb',
      'flavor.vcpus',
      'name',
      'uuid',
    ]);
    expect(JSON.stringify(problems)).not.toContain('sesame');
  });

  it.each([
    ['uuid', '00000000-0000-0000-0000-000000000000'],
    ['uuid', `../${UUID}`],
    ['name', ''],
    ['name', 'x'.repeat(256)],
    ['name', 'two\nlines'],
    ['name', 'nul\0'],
    ['name', '\uD800'],
    ['name', '\uFFFF'],
    ['projectId', 'a\u001b[2J'],
    ['userId', 7],
  ])('is refused for its %s: %j', (key, value) => {
    expect(paths({ ...request(), [key]: value })).toEqual([key]);
  });

  it.each([
    ['vcpus', 0],
    ['vcpus', 1025],
    ['memoryMb', Number.NaN],
    ['memoryMb', 2 ** 30],
    ['rootGb', -1],
    ['rootGb', '10'],
    ['swapMb', Number.POSITIVE_INFINITY],
    ['extraSpecs', { key: 7 }],
    ['extraSpecs', Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`k${i}`, '']))],
  ])('is refused for its flavor.%s: %j', (key, value) => {
    const [path] = paths({ ...request(), flavor: { ...request().flavor, [key]: value } });
    expect(path).toMatch(new RegExp(`^flavor\\.${key}`));
  });

  it.each([
    [{ source: { type: 'file', path: 'relative' } }, 'image.source.path'],
    [{ source: { type: 'file', path: '/a\0b' } }, 'image.source.path'],
    [{ source: { type: 'http', url: 'file:///etc/passwd' } }, 'image.source.url'],
    [{ source: { type: 'http', url: 'javascript:alert(1)' } }, 'image.source.url'],
    [{ source: { type: 'ftp', url: 'ftp://images.invalid/' } }, 'image.source.type'],
    [{ diskFormat: 'qed' }, 'image.diskFormat'],
    [{ id: '' }, 'image.id'],
    [{ checksum: { algorithm: 'sha256', value: 'ab' } }, 'image.checksum'],
    [{ checksum: { algorithm: 'md5', value: 'g'.repeat(32) } }, 'image.checksum'],
    [{ sizeBytes: -1 }, 'image.sizeBytes'],
    [{ extra: true }, 'image.extra'],
  ])('is refused for its image: %j', (change, path) => {
    expect(paths({ ...request(), image: { ...request().image, ...change } })).toEqual([path]);
  });

  it.each([
    [{ bridge: '../br' }, 'networks.0.bridge'],
    [{ bridge: 'bridge-with-a-long-name' }, 'networks.0.bridge'],
    [{ mac: 'ff:ff:ff:ff:ff:ff' }, 'networks.0.mac'],
    [{ mac: 'fa:16:3e:00:00' }, 'networks.0.mac'],
    [{ mtu: 1 }, 'networks.0.mtu'],
    [{ portId: 'tap' }, 'networks.0.portId'],
    [{ networkId: 'brq' }, 'networks.0.networkId'],
    [{ bridge: 'br0', physicalInterface: 'eth0; reboot' }, 'networks.0.physicalInterface'],
    [{ bridge: 'br0', physicalInterface: 'eth0', vlan: 4095 }, 'networks.0.vlan'],
    [{ bridge: 'br0', vlan: 1 }, 'networks.0'],
    [{ bridge: 'br0', evenWithAddresses: true }, 'networks.0'],
    [{ physicalInterface: 'eth0' }, 'networks.0'],
    [{ filter: "a'/><x" }, 'networks.0.filter'],
    [{ tap: 'eth0' }, 'networks.0.tap'],
  ])('is refused for its network: %j', (network, path) => {
    expect(paths({ ...request(), networks: [network] })).toEqual([path]);
  });

  it('is refused for a port or an address given twice', () => {
    const mac = 'fa:16:3e:12:34:56';
    expect(paths({ ...request(), networks: [{ mac }, { mac: mac.toUpperCase() }] })).toEqual([
      'networks.1.mac',
    ]);
    expect(paths({ ...request(), networks: [{ portId: UUID }, { portId: UUID }] })).toEqual([
      'networks.1.portId',
    ]);
  });

  it('is refused when it is deep, and does not exhaust the stack', () => {
    let deep: unknown = {};
    for (let i = 0; i < 100_000; i++) deep = { deep };
    expect(problemsOf({ ...request(), flavor: deep })[0]?.message).toContain('deep');
  });

  it.each(['constructor', 'prototype', '__proto__'])('is refused for the key %s in its source', (key) => {
    const source: unknown = JSON.parse(`{"type":"file","path":"/image","${key}":1}`);
    expect(paths({ ...request(), image: { ...request().image, source } })).toEqual(['image.source']);
  });

  it('does not let __proto__ through', () => {
    const hostile: unknown = JSON.parse(
      '{"name":"x","__proto__":{"uuid":"y"},"flavor":{"__proto__":{"vcpus":1}}}',
    );
    expect(problemsOf(hostile).length).toBeGreaterThan(0);
    const flavor: unknown = { ...request().flavor, extraSpecs: JSON.parse('{"__proto__":"x"}') };
    const { draft } = parseLaunchRequest({ ...request(), flavor });
    expect(Object.getPrototypeOf(draft.flavor.extraSpecs)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('of any shape is accepted or refused as INVALID_ARGUMENT, never anything else', () => {
    const anything = fc.oneof(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }),
      fc
        .record({
          key: fc.constantFrom('uuid', 'name', 'flavor', 'image', 'networks', 'x'),
          value: fc.anything(),
        })
        .map(({ key, value }) => ({ ...request(), [key]: value })),
    );
    fc.assert(
      fc.property(anything, (value) => {
        try {
          const { draft } = parseLaunchRequest(value);
          checkInstanceUuid(draft.uuid, 'test');
          expect(draft.displayName).not.toMatch(/\p{Cc}/u);
        } catch (error) {
          expect(ComputeError.is(error) && error.code).toBe('INVALID_ARGUMENT');
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('the disk of a claim', () => {
  const of = (flavor: object, image: object): number =>
    diskClaimGb(
      parseLaunchRequest({
        ...request(),
        flavor: { vcpus: 1, memoryMb: 1, ...flavor },
        image: { ...request().image, ...image },
      }).draft,
    );

  it('is root, ephemeral and swap', () => {
    expect(of({ rootGb: 10, ephemeralGb: 5, swapMb: 1025 }, {})).toBe(17);
  });

  it('is what is known of the image where the root takes its size', () => {
    expect(of({ rootGb: 0 }, {})).toBe(0);
    expect(of({ rootGb: 0 }, { minDiskGb: 4 })).toBe(4);
    expect(of({ rootGb: 0 }, { sizeBytes: 2 ** 30 * 5 + 1 })).toBe(6);
    expect(of({ rootGb: 0 }, { diskFormat: 'qcow2', sizeBytes: 2 ** 30 * 5 })).toBe(0);
  });
});
