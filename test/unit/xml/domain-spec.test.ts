// The JSON specification: defaults, bounds, and one message for each mistake.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import { parseDomainSpec } from '../../../src/libvirt/domain-spec.js';
import { domainXml } from '../../../src/libvirt/xml/domain.js';
import { expectRefusal } from './support.js';

const minimal = {
  name: 'web',
  flavor: { vcpus: 1, memoryMb: 64 },
  image: { id: 'cirros', diskFormat: 'qcow2' },
};

function problemsOf(spec: unknown): unknown {
  try {
    parseDomainSpec(spec);
  } catch (error) {
    if (ComputeError.is(error) && error.code === 'INVALID_ARGUMENT') return error.details.problems;
    throw error;
  }
  return [];
}

describe('defaults', () => {
  it('complete a minimal specification', () => {
    const { instance, host } = parseDomainSpec(minimal);
    expect(instance).toMatchObject({
      id: 1,
      name: 'instance-00000001',
      displayName: 'web',
      flavor: { name: '1-vcpu-64-mb', rootGb: 0, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
      image: { id: 'cirros', properties: {} },
      vifs: [],
      createdAt: '1970-01-01T00:00:00Z',
    });
    expect(host).toEqual({
      virtType: 'qemu',
      architecture: 'x86_64',
      packageVersion: '0',
      diskPath: `/var/lib/node-compute/instances/${instance.uuid}/disk`,
      diskFormat: 'qcow2',
      ephemeralPath: `/var/lib/node-compute/instances/${instance.uuid}/disk.local`,
      swapPath: `/var/lib/node-compute/instances/${instance.uuid}/disk.swap`,
      consoleLogPath: `/var/lib/node-compute/instances/${instance.uuid}/console.log`,
    });
  });

  it('are the same each time, and differ between instances and interfaces', () => {
    const two = { ...minimal, vifs: [{}, {}] };
    expect(parseDomainSpec(two)).toEqual(parseDomainSpec(structuredClone(two)));
    const { instance } = parseDomainSpec(two);
    const [first, second] = instance.vifs;
    expect(first?.mac).toMatch(/^fa:16:3e(:[0-9a-f]{2}){3}$/);
    expect(first?.tap).toBe(`tap${first?.id.slice(0, 11)}`);
    expect(first?.mac).not.toBe(second?.mac);
    expect(parseDomainSpec({ ...minimal, name: 'other' }).instance.uuid).not.toBe(instance.uuid);
    expect(instance.uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('take numbers and booleans for words', () => {
    const extraSpecs = { 'hw:cpu_cores': 1, 'hw:pmu': false };
    const { instance } = parseDomainSpec({ ...minimal, flavor: { ...minimal.flavor, extraSpecs } });
    expect(instance.flavor.extraSpecs).toEqual({ 'hw:cpu_cores': '1', 'hw:pmu': 'false' });
  });
});

describe('mistakes', () => {
  it('are listed all at once, each with its path', () => {
    const spec = {
      name: '',
      colour: 'red',
      flavor: { vcpus: 0, memoryMb: 1.5, size: 'big' },
      image: { id: 'x', diskFormat: 'floppy' },
      vifs: [{ mac: '01:00:00:00:00:01' }, { tap: 'a-name-that-is-too-long' }],
    };
    expect(problemsOf(spec)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ path: 'name' }),
        { path: 'colour', message: 'is not known here' },
        expect.objectContaining({ path: 'flavor.vcpus' }),
        expect.objectContaining({ path: 'flavor.memoryMb' }),
        { path: 'flavor.size', message: 'is not known here' },
        expect.objectContaining({ path: 'image.diskFormat' }),
        { path: 'vifs[0].mac', message: 'must be a unicast address' },
        expect.objectContaining({ path: 'vifs[1].tap' }),
      ]),
    );
  });

  it.each([null, 1, 'text', [], [[[]]]])('%j is no specification', (spec) => {
    expectRefusal(() => parseDomainSpec(spec), 'INVALID_ARGUMENT', '(top)');
  });

  const flavor = minimal.flavor;
  it.each([
    [{ uuid: 'x' }, 'uuid'],
    [{ id: -1 }, 'id'],
    [{ createdAt: 'yesterday' }, 'createdAt'],
    [{ name: 'x'.repeat(256) }, 'name'],
    [{ flavor: { ...flavor, vcpus: 4097 } }, 'flavor.vcpus'],
    [{ flavor: { ...flavor, memoryMb: '64' } }, 'flavor.memoryMb'],
    [{ flavor: { ...flavor, memoryMb: 2 ** 40 } }, 'flavor.memoryMb'],
    [{ flavor: { ...flavor, extraSpecs: { 'hw:pmu': {} } } }, 'flavor.extraSpecs.hw:pmu'],
    [{ flavor: { ...flavor, extraSpecs: { a: 'x'.repeat(4097) } } }, 'flavor.extraSpecs.a'],
    [{ vifs: Array.from({ length: 65 }, () => ({})) }, 'vifs'],
    [{ vifs: [{ bridge: 'a/b' }] }, 'vifs[0].bridge'],
    [{ vifs: [{ tap: '..' }] }, 'vifs[0].tap'],
    [{ vifs: [{ mac: '00:00:00:00:00:00' }] }, 'vifs[0].mac'],
    [{ vifs: [{ mac: 'fa:16:3e:00:00' }] }, 'vifs[0].mac'],
    [{ vifs: [{ mtu: 1 }] }, 'vifs[0].mtu'],
    [{ host: { diskPath: 'relative' } }, 'host.diskPath'],
    [{ host: { vncListen: 'localhost' } }, 'host.vncListen'],
    [{ host: { virtType: 'xen' } }, 'host.virtType'],
    [{ host: { pinning: { dedicated: [-1] } } }, 'host.pinning.dedicated[0]'],
  ])('%j', (change, path) => {
    expect(problemsOf({ ...minimal, ...change })).toEqual([expect.objectContaining({ path })]);
  });

  it('include interfaces that take the same name or address', () => {
    const vif = { tap: 'tap0', mac: 'fa:16:3e:00:00:01' };
    expect(problemsOf({ ...minimal, vifs: [vif, vif] })).toEqual([
      expect.objectContaining({ path: 'vifs[1].mac' }),
      expect.objectContaining({ path: 'vifs[1].tap' }),
    ]);
  });

  it('never are anything but a document or a typed refusal', () => {
    const change = fc.dictionary(
      fc.constantFrom('name', 'uuid', 'id', 'flavor', 'image', 'vifs', 'host', 'createdAt', '__proto__', 'x'),
      fc.jsonValue(),
    );
    const json = fc.oneof(
      fc.jsonValue(),
      change.map((fields) => ({ ...minimal, ...fields })),
    );
    fc.assert(
      fc.property(json, (spec) => {
        try {
          const { instance, host } = parseDomainSpec(spec);
          domainXml(instance, host);
        } catch (error) {
          expect(ComputeError.is(error) && error.code).toMatch(
            /^(INVALID_ARGUMENT|UNSUPPORTED|FLAVOR_IMAGE_CONFLICT)$/,
          );
        }
      }),
      { numRuns: 1000 },
    );
  });
});
