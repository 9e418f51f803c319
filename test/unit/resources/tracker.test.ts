// The ledger of a node: limits as Nova counts them, one claim an instance, and sums that always agree.
import { describe, expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import { ResourceTracker, type ResourceTrackerOptions } from '../../../src/resources/tracker.js';

const totals = { vcpus: 4, memoryMb: 8192, diskGb: 100 };
const small = { vcpus: 1, memoryMb: 512, rootGb: 10 };

function tracker(options: Partial<ResourceTrackerOptions> = {}): ResourceTracker {
  return new ResourceTracker({ totals, ...options });
}

function used(of: ResourceTracker): number[] {
  const { vcpus, memoryMb, diskGb } = of.usage();
  return [vcpus.used, memoryMb.used, diskGb.used];
}

describe('the limits', () => {
  it("are Nova's by default: CPUs four times, memory less 512 MiB, disk as it is", () => {
    expect(tracker().usage()).toEqual({
      vcpus: { total: 4, reserved: 0, allocationRatio: 4, limit: 16, used: 0 },
      memoryMb: { total: 8192, reserved: 512, allocationRatio: 1, limit: 7680, used: 0 },
      diskGb: { total: 100, reserved: 0, allocationRatio: 1, limit: 100, used: 0 },
    });
  });

  it('are (total - reserved) * ratio, in whole units, never below 0', () => {
    const usage = tracker({
      totals: { vcpus: 3, memoryMb: 1000, diskGb: 5 },
      allocationRatios: { cpu: 1.5, memory: 1.5, disk: 1.25 },
      reserved: { vcpus: 1, memoryMb: 1, diskGb: 10 },
    }).usage();
    expect([usage.vcpus.limit, usage.memoryMb.limit, usage.diskGb.limit]).toEqual([3, 1498, 0]);
  });

  it.each([
    [100, 1.15, 115],
    [10, 1.1, 11],
    [3, 1.1, 3],
    [1000, 0.29, 290],
  ])('lose no unit to binary fractions: %d * %d is %d', (diskGb, disk, limit) => {
    const usage = tracker({ totals: { ...totals, diskGb }, allocationRatios: { disk } }).usage();
    expect(usage.diskGb.limit).toBe(limit);
  });

  it.each<Partial<ResourceTrackerOptions>>([
    { allocationRatios: { cpu: 0 } },
    { allocationRatios: { memory: -1 } },
    { allocationRatios: { disk: Number.NaN } },
    { allocationRatios: { cpu: Number.POSITIVE_INFINITY } },
    { reserved: { memoryMb: -1 } },
    { totals: { ...totals, vcpus: Number.NaN } },
    { totals: { ...totals, diskGb: -1 } },
  ])('refuse %o', (options) => {
    expect(() => tracker(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});

describe('claim', () => {
  it('takes all the resources or none', () => {
    const node = tracker();
    const claim = node.claim('a', { ...small, swapMb: 100 });
    expect(claim.amounts).toEqual({ vcpus: 1, memoryMb: 512, diskGb: 11 });
    expect(used(node)).toEqual([1, 512, 11]);
    expect(() => node.claim('b', { ...small, rootGb: 90 })).toThrow(
      expect.objectContaining({ code: 'CLAIM_REFUSED', instanceUuid: 'b' }),
    );
    expect(used(node)).toEqual([1, 512, 11]);
    expect(node.has('b')).toBe(false);
  });

  it('fills the host to its limit and not one unit further', () => {
    const node = tracker();
    for (let i = 0; i < 15; i += 1) node.claim(`i${i}`, { vcpus: 1, memoryMb: 512 });
    expect(node.usage().memoryMb.used).toBe(node.usage().memoryMb.limit);
    expect(() => node.claim('more', { vcpus: 1, memoryMb: 1 })).toThrow(/0 MB free/);
    expect(node.size).toBe(15);
  });

  it('is one per instance', () => {
    const node = tracker();
    node.claim('a', small);
    expect(() => node.claim('a', small)).toThrow(expect.objectContaining({ code: 'INSTANCE_EXISTS' }));
    expect(used(node)).toEqual([1, 512, 10]);
  });

  it('keeps in its record what stood before it', () => {
    const node = tracker();
    node.claim('a', small);
    const { record } = node.claim('b', small);
    expect(record.memoryMb).toEqual({
      asked: 512,
      used: 512,
      total: 8192,
      reserved: 512,
      allocationRatio: 1,
      limit: 7680,
    });
  });

  it('takes a disk size in place of a root of 0 GiB', () => {
    const node = tracker();
    node.claim('a', { vcpus: 1, memoryMb: 64, rootGb: 0 }, { diskGb: 7 });
    expect(node.amounts('a')).toEqual({ vcpus: 1, memoryMb: 64, diskGb: 7 });
    expect(node.amounts('b')).toBeUndefined();
  });

  it('tells a flavor that is none from a node that is full', () => {
    const node = tracker();
    expect(() => node.claim('a', { vcpus: 0, memoryMb: 1 })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(node.size).toBe(0);
  });
});

describe('release', () => {
  it('gives back once, however often it is called and by whom', () => {
    const node = tracker();
    const claim = node.claim('a', small);
    node.claim('b', small);
    claim.release();
    claim.release();
    expect(node.release('a')).toBe(false);
    expect(used(node)).toEqual([1, 512, 10]);
    expect(node.release('b')).toBe(true);
    expect(used(node)).toEqual([0, 0, 0]);
  });

  it('by an old handle leaves a later claim of the same instance alone', () => {
    const node = tracker();
    const first = node.claim('a', small);
    first.release();
    node.claim('a', { ...small, memoryMb: 1024 });
    first.release();
    expect(used(node)).toEqual([1, 1024, 10]);
  });
});

describe('rebuild', () => {
  it('takes what runs on the host, also beyond the limits, and then refuses more', () => {
    const node = tracker();
    const old = node.claim('gone', small);
    const claims = node.rebuild([
      { uuid: 'a', flavor: { vcpus: 12, memoryMb: 9000, rootGb: 50 } },
      { uuid: 'b', flavor: small, diskGb: 60 },
    ]);
    expect(used(node)).toEqual([13, 9512, 110]);
    expect([...claims.keys()]).toEqual(['a', 'b']);
    old.release();
    expect(used(node)).toEqual([13, 9512, 110]);
    expect(() => node.claim('c', small)).toThrow(expect.objectContaining({ code: 'CLAIM_REFUSED' }));
    claims.get('a')?.release();
    expect(used(node)).toEqual([1, 512, 60]);
  });

  it('changes nothing where one of the instances is wrong', () => {
    const node = tracker();
    node.claim('kept', small);
    const flavor = small;
    expect(() =>
      node.rebuild([
        { uuid: 'a', flavor },
        { uuid: 'a', flavor },
      ]),
    ).toThrow(ComputeError);
    expect(() => node.rebuild([{ uuid: 'a', flavor: { ...flavor, vcpus: -1 } }])).toThrow(ComputeError);
    expect(node.has('kept')).toBe(true);
    expect(used(node)).toEqual([1, 512, 10]);
  });
});

describe('setTotals', () => {
  it('moves the limit, not the claims', () => {
    const node = tracker();
    node.claim('a', { vcpus: 4, memoryMb: 4096 });
    node.setTotals({ vcpus: 2, memoryMb: 2048, diskGb: 100 });
    expect(node.usage().memoryMb).toMatchObject({ total: 2048, limit: 1536, used: 4096 });
    expect(() => node.claim('b', { vcpus: 1, memoryMb: 1 })).toThrow(/0 MB free/);
    node.setTotals(totals);
    expect(node.claim('b', { vcpus: 1, memoryMb: 1 }).amounts.memoryMb).toBe(1);
  });
});
