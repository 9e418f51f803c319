// CPU topology, CPU policy and guest NUMA: how flavor and image are reconciled.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cpuMask } from '../../../src/libvirt/xml/vocabulary/rule.js';
import { expectRefusal, guestOf, type Words } from './support.js';

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
