// What another flavor does to disks: nothing is ever made smaller.
import { expect, it } from 'vitest';
import type { Flavor } from '../../../src/driver/model.js';
import { diskChanges } from '../../../src/libvirt/disk-changes.js';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const base: Flavor = {
  name: 'f',
  vcpus: 1,
  memoryMb: 128,
  rootGb: 2,
  ephemeralGb: 1,
  swapMb: 16,
  extraSpecs: {},
};
const disks = {
  disk: { format: 'qcow2', virtualSizeBytes: 2 * GIB },
  'disk.local': { format: 'qcow2', virtualSizeBytes: GIB },
  'disk.swap': { format: 'qcow2', virtualSizeBytes: 16 * MIB },
} as const;

const changes = (flavor: Partial<Flavor>, old = base, has: Parameters<typeof diskChanges>[1] = disks) =>
  diskChanges('u', has, old, { ...old, ...flavor }).map(({ name, how, sizeBytes }) => [name, how, sizeBytes]);

it('grows root and ephemeral disks, makes swap anew, and leaves what has its size', () => {
  expect(changes({ memoryMb: 256, vcpus: 4 })).toEqual([]);
  expect(changes({ rootGb: 3 })).toEqual([['disk', 'grow', 3 * GIB]]);
  expect(changes({ ephemeralGb: 2 })).toEqual([['disk.local', 'grow', 2 * GIB]]);
  expect(changes({ swapMb: 8 })).toEqual([['disk.swap', 'make', 8 * MIB]]);
  expect(changes({ swapMb: 0 })).toEqual([['disk.swap', 'drop', 0]]);
  const bare = { ...base, ephemeralGb: 0, swapMb: 0 };
  expect(changes({ ephemeralGb: 1, swapMb: 8 }, bare, { disk: disks.disk })).toEqual([
    ['disk.local', 'make', GIB],
    ['disk.swap', 'make', 8 * MIB],
  ]);
});

it('lets a root disk that has the size of its image stay, or take one of its own', () => {
  const ofImage = { ...base, rootGb: 0 };
  expect(changes({ memoryMb: 256 }, ofImage)).toEqual([]);
  expect(changes({ rootGb: 3 }, ofImage)).toEqual([['disk', 'grow', 3 * GIB]]);
  expect(() => changes({ rootGb: 1 }, ofImage)).toThrowError(
    expect.objectContaining({ code: 'FLAVOR_DISK_TOO_SMALL' }),
  );
});

it.each([{ rootGb: 1 }, { rootGb: 0 }, { ephemeralGb: 0 }])('refuses to shrink to %j', (flavor) => {
  expect(() => changes(flavor)).toThrowError(
    expect.objectContaining({ code: 'FLAVOR_DISK_TOO_SMALL', instanceUuid: 'u' }),
  );
});
