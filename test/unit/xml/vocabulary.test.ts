// Nova's vocabulary: what is read, refused, ignored, and how flavor and image are reconciled.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import { validateFlavorAndImage } from '../../../src/libvirt/xml/domain.js';
import { FLAVOR_KEYS } from '../../../src/libvirt/xml/vocabulary/flavor-terms.js';
import { IMAGE_KEYS } from '../../../src/libvirt/xml/vocabulary/image-terms.js';
import { cpuMask } from '../../../src/libvirt/xml/vocabulary/rule.js';
import { expectRefusal, flavorOf, guestOf, hostOf, imageOf, type Words } from './support.js';

describe('values', () => {
  it.each(['true', 'True', 'YES', 'on', '1', 't', 'y'])('%s is true', (word) => {
    expect(guestOf({ 'hw:pmu': word }).pmu).toBe(true);
  });

  it.each(['false', 'NO', 'off', '0', 'f', 'n'])('%s is false', (word) => {
    expect(guestOf({ 'hw:pmu': word }).pmu).toBe(false);
  });

  it.each(['', 'maybe', '2', 'null'])('%j is no boolean', (word) => {
    expectRefusal(
      () => guestOf({ 'hw:pmu': word }),
      'INVALID_ARGUMENT',
      'hw:pmu',
      JSON.stringify(word),
      'true, false',
    );
    expectRefusal(() => guestOf({}, { hw_pmu: word }), 'INVALID_ARGUMENT', 'hw_pmu');
  });

  it.each(['', 'four', '1.5', '0x4', '-1', '1e1', '99999999999999999999'])('%j is no count', (word) => {
    expectRefusal(
      () => guestOf({ 'hw:cpu_cores': word }),
      'INVALID_ARGUMENT',
      'hw:cpu_cores',
      JSON.stringify(word),
    );
    expectRefusal(() => guestOf({}, { hw_cpu_cores: word }), 'INVALID_ARGUMENT', 'hw_cpu_cores');
  });

  it('gives every refusal its key, value and what is allowed', () => {
    try {
      guestOf({ 'hw:cpu_policy': 'pinned' });
      expect.unreachable();
    } catch (error) {
      expect(ComputeError.is(error) && error.details).toEqual({
        key: 'hw:cpu_policy',
        value: 'pinned',
        allowed: 'shared, dedicated, mixed',
      });
    }
  });
});

describe('keys', () => {
  const ofScheduler = {
    'resources:VCPU': '1',
    'resources1:CUSTOM_X': '1',
    'trait:HW_CPU_X86_AVX': 'required',
    group_policy: 'none',
    'aggregate_instance_extra_specs:ssd': 'true',
    'capabilities:vcpus': '>= 4',
    'vmware:hw_version': 'vmx-13',
    unscoped: 'value',
    constructor: 'x',
    __proto__x: 'y',
  };

  it("ignores a scheduler's keys and properties nobody knows", () => {
    expect(guestOf(ofScheduler)).toEqual(guestOf());
    expect(
      guestOf({}, { os_distro: 'debian', hw_disk_type: 'sparse', 'trait:X': 'required', toString: 'x' }),
    ).toEqual(guestOf());
  });

  it('refuses an unknown key in a scope that is ours', () => {
    for (const key of [
      'hw:cpu_polcy',
      'hw_rng:bytes',
      'hw_video:ram',
      'quota:disk',
      'os:secure',
      'hw:numa_cpus',
    ]) {
      expectRefusal(() => guestOf({ [key]: '1' }), 'INVALID_ARGUMENT', key);
    }
  });

  it.each(FLAVOR_KEYS.refused)('refuses the extra spec %s', (key) => {
    expectRefusal(() => guestOf({ [key]: 'true' }), 'UNSUPPORTED', key);
  });

  it.each(IMAGE_KEYS.refused)('refuses the image property %s', (key) => {
    expectRefusal(() => guestOf({}, { [key]: 'true' }), 'UNSUPPORTED', key);
  });

  it('takes no for an answer where it can do no other', () => {
    expect(guestOf({ 'hw:mem_encryption': 'false', 'hw:ephemeral_encryption': 'no' })).toEqual(guestOf());
    expect(guestOf({}, { hw_mem_encryption: 'false', kernel_id: '', ramdisk_id: '' })).toEqual(guestOf());
  });

  it('lets a current name beat its old one and refuses two spellings that differ', () => {
    expect(guestOf({}, { architecture: 'i386', hw_architecture: 'x86_64' }).architecture).toBe('x86_64');
    expect(guestOf({}, { vmware_adaptertype: 'ide' }).diskBus).toBe('ide');
    expect(guestOf({}, { vmware_adaptertype: 'ide', hw_disk_bus: 'virtio' }).diskBus).toBe('virtio');
    const two = { 'hw:cpu_max_cores': '2', 'hw:max_cpu_cores': '4' };
    expectRefusal(() => guestOf(two), 'INVALID_ARGUMENT', 'hw:max_cpu_cores');
  });
});

describe('CPU topology', () => {
  const topology = (extraSpecs: Words, properties: Words = {}, vcpus = 4): number[] =>
    Object.values(guestOf(extraSpecs, properties, { vcpus }).topology);

  it.each([
    [{}, {}, [4, 1, 1]],
    [{ 'hw:cpu_sockets': '1' }, {}, [1, 4, 1]],
    [{ 'hw:cpu_sockets': '1', 'hw:cpu_threads': '2' }, {}, [1, 2, 2]],
    [{ 'hw:cpu_cores': '2' }, { hw_cpu_threads: '2' }, [2, 1, 2]],
    [{ 'hw:cpu_max_sockets': '2' }, {}, [2, 2, 1]],
    [{ 'hw:max_cpu_sockets': '2' }, { hw_cpu_max_sockets: '1' }, [1, 4, 1]],
    [{ 'hw:cpu_sockets': '3' }, {}, [4, 1, 1]],
    [{ 'hw:cpu_sockets': '4' }, { hw_cpu_max_sockets: '2' }, [2, 2, 1]],
  ])('%j and %j give %j', (extraSpecs, properties, expected) => {
    expect(topology(extraSpecs, properties)).toEqual(expected);
  });

  it('refuses limits that leave no topology and wishes beyond them', () => {
    expectRefusal(
      () => topology({ 'hw:cpu_max_sockets': '1' }, { hw_cpu_max_sockets: '2' }),
      'FLAVOR_IMAGE_CONFLICT',
      'hw_cpu_max_sockets',
    );
    expectRefusal(
      () => topology({ 'hw:cpu_max_sockets': '1' }, { hw_cpu_sockets: '2' }),
      'INVALID_ARGUMENT',
      'hw_cpu_sockets',
    );
    const one = { 'hw:cpu_max_sockets': '1', 'hw:cpu_max_cores': '1', 'hw:cpu_max_threads': '1' };
    expectRefusal(() => topology(one), 'INVALID_ARGUMENT', 'hw:cpu_max_sockets', '4 vCPUs');
  });

  it('always gives the number of vCPUs', () => {
    const count = fc.option(fc.integer({ min: 1, max: 300 }).map(String), { nil: undefined });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4096 }),
        count,
        count,
        count,
        (vcpus, sockets, cores, threads) => {
          const wish = { 'hw:cpu_sockets': sockets, 'hw:cpu_cores': cores, 'hw:cpu_threads': threads };
          const given = Object.fromEntries(
            Object.entries(wish).filter((entry): entry is [string, string] => entry[1] !== undefined),
          );
          expect(topology(given, {}, vcpus).reduce((a, b) => a * b)).toBe(vcpus);
        },
      ),
    );
  });
});

describe('CPU policy', () => {
  it.each([
    ['shared', 'dedicated'],
    ['shared', 'mixed'],
    ['mixed', 'dedicated'],
  ])('refuses an image that wants more than the flavor: %s, %s', (ofFlavor, ofImage) => {
    const both = (): unknown => guestOf({ 'hw:cpu_policy': ofFlavor }, { hw_cpu_policy: ofImage });
    expectRefusal(both, 'FLAVOR_IMAGE_CONFLICT', 'hw:cpu_policy', ofFlavor, ofImage);
  });

  it('takes the stronger one of the flavor', () => {
    expect(guestOf({ 'hw:cpu_policy': 'dedicated' }, { hw_cpu_policy: 'shared' }).placement.policy).toBe(
      'dedicated',
    );
    expect(guestOf({}, { hw_cpu_policy: 'dedicated' }).placement.dedicated).toEqual([0, 1, 2, 3]);
  });

  it('refuses terms that need dedicated CPUs without them', () => {
    for (const terms of [
      { 'hw:cpu_thread_policy': 'prefer' },
      { 'hw:cpu_dedicated_mask': '0' },
      { 'hw:cpu_realtime': 'true' },
      { 'hw:emulator_threads_policy': 'isolate' },
    ]) {
      expectRefusal(() => guestOf(terms), 'INVALID_ARGUMENT', Object.keys(terms)[0] ?? '');
    }
  });

  it('refuses thread policies that it can not keep', () => {
    const require = { 'hw:cpu_policy': 'dedicated', 'hw:cpu_thread_policy': 'require' };
    expectRefusal(() => guestOf(require), 'UNSUPPORTED', 'hw:cpu_thread_policy');
    expectRefusal(
      () => guestOf(require, { hw_cpu_thread_policy: 'isolate' }),
      'FLAVOR_IMAGE_CONFLICT',
      'hw_cpu_thread_policy',
    );
  });

  it('refuses masks that leave one kind empty', () => {
    const mixed = (mask: Words): unknown => guestOf({ 'hw:cpu_policy': 'mixed', ...mask });
    expectRefusal(() => mixed({}), 'INVALID_ARGUMENT', 'hw:cpu_policy', 'hw:cpu_dedicated_mask');
    expectRefusal(
      () => mixed({ 'hw:cpu_dedicated_mask': '0-3' }),
      'INVALID_ARGUMENT',
      'hw:cpu_dedicated_mask',
    );
    expectRefusal(
      () => mixed({ 'hw:cpu_dedicated_mask': '7' }),
      'INVALID_ARGUMENT',
      'hw:cpu_dedicated_mask',
      '0 to 3',
    );
    const realtime = { 'hw:cpu_policy': 'dedicated', 'hw:cpu_realtime': 'true' };
    expectRefusal(() => guestOf(realtime), 'INVALID_ARGUMENT', 'hw:cpu_realtime_mask');
    expectRefusal(
      () => guestOf({ ...realtime, 'hw:cpu_realtime_mask': '^0-3' }),
      'INVALID_ARGUMENT',
      'hw:cpu_realtime_mask',
    );
  });

  it('reads masks', () => {
    expect(cpuMask('0-3,^2, 6', 'k', 8)).toEqual([0, 1, 3, 6]);
    expect(cpuMask('^0-1', 'k', 4)).toEqual([2, 3]);
    for (const mask of ['', '3-1', '0-8', 'a', '0,,1', '0-'])
      expectRefusal(() => cpuMask(mask, 'k', 8), 'INVALID_ARGUMENT', 'k');
  });
});

describe('guest NUMA', () => {
  const cells = (extraSpecs: Words, properties: Words = {}): unknown => guestOf(extraSpecs, properties).cells;

  it('divides evenly, or by the map', () => {
    expect(cells({})).toBeUndefined();
    expect(cells({ 'hw:mem_page_size': 'large' })).toEqual([{ id: 0, cpus: [0, 1, 2, 3], memoryMb: 1024 }]);
    expect(cells({}, { hw_numa_nodes: '2' })).toEqual([
      { id: 0, cpus: [0, 1], memoryMb: 512 },
      { id: 1, cpus: [2, 3], memoryMb: 512 },
    ]);
    const map = {
      'hw_numa_cpus.0': '0-2',
      'hw_numa_mem.0': '1000',
      'hw_numa_cpus.1': '3',
      'hw_numa_mem.1': '24',
    };
    expect(cells({ 'hw:numa_nodes': '2' }, map)).toMatchObject([{ memoryMb: 1000 }, { cpus: [3] }]);
  });

  it.each([
    [{ 'hw:numa_nodes': '3' }, 'hw:numa_nodes'],
    [{ 'hw:numa_nodes': '0' }, 'hw:numa_nodes'],
    [{ 'hw:numa_cpus.0': '0' }, 'hw:numa_nodes'],
    [{ 'hw:numa_nodes': '1', 'hw:numa_cpus.0': '0-3' }, 'NUMA node'],
    [{ 'hw:numa_nodes': '1', 'hw:numa_cpus.1': '0-3', 'hw:numa_mem.1': '1024' }, 'node 0'],
    [{ 'hw:numa_nodes': '1', 'hw:numa_cpus.0': '0-2', 'hw:numa_mem.0': '1024' }, 'no NUMA node'],
    [{ 'hw:numa_nodes': '1', 'hw:numa_cpus.0': '0-3', 'hw:numa_mem.0': '1000' }, '1000 MiB'],
    [{ 'hw:numa_nodes': '1', 'hw:numa_cpus.0': '0-4', 'hw:numa_mem.0': '1024' }, 'hw:numa_cpus.0'],
    [
      {
        'hw:numa_nodes': '2',
        'hw:numa_cpus.0': '0-3',
        'hw:numa_mem.0': '512',
        'hw:numa_cpus.1': '3',
        'hw:numa_mem.1': '512',
      },
      'two NUMA nodes',
    ],
  ])('refuses %j', (extraSpecs, word) => {
    expectRefusal(() => cells(extraSpecs as Words), 'INVALID_ARGUMENT', word);
  });

  it('refuses two maps', () => {
    expectRefusal(
      () => cells({ 'hw:numa_nodes': '2' }, { hw_numa_nodes: '2' }),
      'FLAVOR_IMAGE_CONFLICT',
      'hw_numa_nodes',
    );
    const two = (): unknown =>
      cells({ 'hw:numa_nodes': '1', 'hw:numa_cpus.0': '0-3' }, { 'hw_numa_cpus.0': '0-3' });
    expectRefusal(two, 'FLAVOR_IMAGE_CONFLICT', 'hw_numa_cpus.0');
  });
});

describe('validateFlavorAndImage', () => {
  it('refuses by vocabulary alone, and with a host also what that host lacks', () => {
    const dedicated = flavorOf({ 'hw:cpu_policy': 'dedicated' });
    expect(validateFlavorAndImage(dedicated, imageOf())).toBeUndefined();
    expectRefusal(
      () => validateFlavorAndImage(dedicated, imageOf(), hostOf()),
      'UNSUPPORTED',
      'hw:cpu_policy',
    );
    expectRefusal(
      () => validateFlavorAndImage(flavorOf({ 'hw:pmem': 'a' }), imageOf()),
      'UNSUPPORTED',
      'hw:pmem',
    );
    const image = imageOf({ hw_vif_model: 'spapr-vlan' });
    expectRefusal(() => validateFlavorAndImage(flavorOf(), image, hostOf()), 'UNSUPPORTED', 'hw_vif_model');
    const drive = imageOf({ img_config_drive: 'mandatory' });
    expectRefusal(
      () => validateFlavorAndImage(flavorOf(), drive, hostOf()),
      'UNSUPPORTED',
      'img_config_drive',
    );
    expect(validateFlavorAndImage(flavorOf(), drive, hostOf({ configDrivePath: '/c' }))).toBeUndefined();
  });

  it('refuses sizes that are none', () => {
    for (const vcpus of [0, -1, 1.5, Number.NaN, 5000]) {
      expectRefusal(
        () => validateFlavorAndImage(flavorOf({}, { vcpus }), imageOf()),
        'INVALID_ARGUMENT',
        'flavor.vcpus',
      );
    }
    expectRefusal(
      () => validateFlavorAndImage(flavorOf({}, { memoryMb: 0 }), imageOf()),
      'INVALID_ARGUMENT',
      'flavor.memoryMb',
    );
  });

  it('answers any words with a document or a typed refusal', () => {
    const keys = [...FLAVOR_KEYS.read, ...FLAVOR_KEYS.aliases, 'hw:numa_cpus.0', 'hw:numa_mem.0'];
    const properties = [...IMAGE_KEYS.read, ...IMAGE_KEYS.legacy, 'hw_numa_cpus.0', 'hw_numa_mem.0'];
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom('true', 'no', '0', '1', '2', '0-1', '^0', 'large', 'virtio', 'q35', 'uefi'),
    );
    const words = (from: readonly string[]): fc.Arbitrary<Words> =>
      fc.dictionary(fc.constantFrom(...from), value, { maxKeys: 4 });
    fc.assert(
      fc.property(words(keys), words(properties), (extraSpecs, ofImage) => {
        try {
          validateFlavorAndImage(flavorOf(extraSpecs), imageOf(ofImage), hostOf());
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
