// What a flavor costs, and in which words a claim is refused.
import { describe, expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import {
  type ClaimRecord,
  claimedAmounts,
  claimRefused,
  describeClaim,
  type ResourceCheck,
  shortages,
} from '../../../src/resources/claims.js';

const UUID = '7d1c8a52-0b1f-4a56-8f57-3f4c6a5b9d10';

function check(asked: number, used: number, total: number, limit = total): ResourceCheck {
  return { asked, used, total, limit, reserved: 0, allocationRatio: limit / total };
}

function record(parts: Partial<ClaimRecord>): ClaimRecord {
  return {
    instanceUuid: UUID,
    vcpus: check(1, 0, 4, 16),
    memoryMb: check(512, 0, 8192),
    diskGb: check(10, 0, 100),
    ...parts,
  };
}

function refusal(parts: Partial<ClaimRecord>): ComputeError {
  const claim = record(parts);
  return claimRefused(claim, shortages(claim));
}

describe('claimedAmounts', () => {
  it('counts root, ephemeral and swap as disk, the swap rounded up to a whole GiB', () => {
    const flavor = { vcpus: 2, memoryMb: 2048, rootGb: 20, ephemeralGb: 5 };
    expect(claimedAmounts({ ...flavor, swapMb: 0 }).diskGb).toBe(25);
    expect(claimedAmounts({ ...flavor, swapMb: 1 }).diskGb).toBe(26);
    expect(claimedAmounts({ ...flavor, swapMb: 1024 }).diskGb).toBe(26);
    expect(claimedAmounts({ ...flavor, swapMb: 1025 })).toEqual({ vcpus: 2, memoryMb: 2048, diskGb: 27 });
  });

  it('takes no disk for a root of 0 GiB until its size is known', () => {
    const flavor = { vcpus: 1, memoryMb: 64, rootGb: 0 };
    expect(claimedAmounts(flavor).diskGb).toBe(0);
    expect(claimedAmounts(flavor, { diskGb: 3 }).diskGb).toBe(3);
  });

  it.each([
    { vcpus: 0 },
    { vcpus: 1.5 },
    { vcpus: -1 },
    { vcpus: Number.NaN },
    { memoryMb: 0 },
    { memoryMb: 2 ** 41 },
    { memoryMb: Number.POSITIVE_INFINITY },
    { rootGb: -1 },
    { ephemeralGb: 0.5 },
    { swapMb: -1024 },
  ])('refuses %o as no flavor at all', (part) => {
    expect(() => claimedAmounts({ vcpus: 1, memoryMb: 64, ...part })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('refuses a disk size that is no whole number', () => {
    expect(() => claimedAmounts({ vcpus: 1, memoryMb: 64 }, { diskGb: -1 })).toThrow(ComputeError);
    expect(() => claimedAmounts({ vcpus: 1, memoryMb: 64 }, { diskGb: 1.5 })).toThrow(ComputeError);
  });
});

describe('shortages', () => {
  it('finds none up to and including the limit', () => {
    expect(shortages(record({}))).toEqual([]);
    expect(shortages(record({ memoryMb: check(4096, 4096, 8192) }))).toEqual([]);
  });

  it('finds each resource that one more unit would take over its limit', () => {
    const found = shortages(
      record({
        vcpus: check(1, 16, 4, 16),
        memoryMb: check(4097, 4096, 8192),
        diskGb: check(1, 100, 100),
      }),
    );
    expect(found.map(({ resource, rule }) => [resource, rule])).toEqual([
      ['vcpus', 'limit'],
      ['memoryMb', 'limit'],
      ['diskGb', 'limit'],
    ]);
  });

  it('asks for nothing, needs nothing: no disk on a disk that is over its limit', () => {
    expect(shortages(record({ diskGb: check(0, 120, 100) }))).toEqual([]);
  });

  it('gives one instance no more CPUs and memory than the host has, whatever the ratio', () => {
    const found = shortages(record({ vcpus: check(5, 0, 4, 16), memoryMb: check(8193, 0, 8192, 12288) }));
    expect(found.map(({ resource, rule }) => [resource, rule])).toEqual([
      ['vcpus', 'physical'],
      ['memoryMb', 'physical'],
    ]);
    expect(shortages(record({ diskGb: check(150, 0, 100, 200) }))).toEqual([]);
  });
});

describe('claimRefused', () => {
  it('says what was asked and what there is of each resource that falls short, and only of those', () => {
    const error = refusal({ memoryMb: check(4096, 6000, 8192, 7680), diskGb: check(50, 80, 100) });
    expect(error).toMatchObject({ code: 'CLAIM_REFUSED', instanceUuid: UUID, operation: 'claim' });
    expect(error.message).toBe(
      `the node has no room for instance ${UUID}: ` +
        'memory: 4096 MB requested, 1680 MB free (total 8192 MB, limit 7680 MB, used 6000 MB); ' +
        'disk: 50 GB requested, 20 GB free (total 100 GB, limit 100 GB, used 80 GB)',
    );
    expect(error.details).toMatchObject({
      refused: [
        { resource: 'memoryMb', rule: 'limit', asked: 4096, total: 8192, used: 6000, limit: 7680 },
        { resource: 'diskGb', rule: 'limit', asked: 50, total: 100, used: 80, limit: 100 },
      ],
      claim: { vcpus: { asked: 1 } },
    });
  });

  it('never tells of less than nothing free', () => {
    expect(refusal({ diskGb: check(1, 120, 100) }).message).toContain('1 GB requested, 0 GB free');
  });

  it('tells of a host that is too small as such', () => {
    expect(refusal({ vcpus: check(5, 0, 4, 16) }).message).toContain(
      'vCPUs: 5 requested for one instance, the host has 4',
    );
  });

  it('is retryable where an empty host would do, and only there', () => {
    expect(refusal({ memoryMb: check(4096, 6000, 8192) }).retryable).toBe(true);
    expect(refusal({ memoryMb: check(8000, 0, 8192, 7680) }).retryable).toBe(false);
    expect(refusal({ vcpus: check(5, 0, 4, 16) }).retryable).toBe(false);
    expect(refusal({ memoryMb: check(4096, 6000, 8192), diskGb: check(101, 0, 100) }).retryable).toBe(false);
  });
});

describe('describeClaim', () => {
  it('is one line with what was asked, used and allowed', () => {
    expect(describeClaim(record({}))).toBe(
      'vCPUs 1 (used 0 of 16), memory 512 MB (used 0 of 8192 MB), disk 10 GB (used 0 of 100 GB)',
    );
  });
});
