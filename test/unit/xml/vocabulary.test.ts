// Nova's vocabulary: what is read, refused, ignored, and how flavor and image are reconciled.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import { validateFlavorAndImage } from '../../../src/libvirt/xml/domain.js';
import { FLAVOR_KEYS } from '../../../src/libvirt/xml/vocabulary/flavor-terms.js';
import { IMAGE_KEYS } from '../../../src/libvirt/xml/vocabulary/image-terms.js';
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
