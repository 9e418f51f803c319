// Claims of an instance that changes its size: beside what it has, or in its place.
import { describe, expect, it } from 'vitest';
import { ResourceTracker } from '../../../src/resources/tracker.js';

const A = 'a';
const small = { vcpus: 2, memoryMb: 1000, rootGb: 10 };
const large = { vcpus: 4, memoryMb: 2000, rootGb: 20 };

function tracker(memoryMb = 4000): ResourceTracker {
  const made = new ResourceTracker({
    totals: { vcpus: 8, memoryMb, diskGb: 100 },
    allocationRatios: { cpu: 1 },
    reserved: { memoryMb: 0 },
  });
  made.claim(A, small);
  return made;
}

const used = (one: ResourceTracker) => Object.values(one.usage()).map((usage) => usage.used);

describe('a move claim', () => {
  it('stands beside the claim, and one of the two goes at its end', () => {
    for (const taken of [true, false]) {
      const one = tracker();
      one.claimMove(A, large);
      expect(used(one)).toEqual([6, 3000, 30]);
      one.endMove(A, taken);
      expect(used(one)).toEqual(taken ? [4, 2000, 20] : [2, 1000, 10]);
      one.endMove(A, taken);
      expect(one.release(A)).toBe(true);
      expect(used(one)).toEqual([0, 0, 0]);
    }
  });

  it('goes with the claim, is refused where there is no room, and is made of what was found', () => {
    const one = tracker(2500);
    expect(() => one.claimMove(A, large)).toThrowError(expect.objectContaining({ code: 'CLAIM_REFUSED' }));
    expect(used(one)).toEqual([2, 1000, 10]);
    one.claimMove(A, small);
    expect(() => one.claimMove(A, small)).toThrowError(expect.objectContaining({ code: 'INSTANCE_EXISTS' }));
    expect(() => one.claimMove('b', small)).toThrowError(
      expect.objectContaining({ code: 'INSTANCE_NOT_FOUND' }),
    );
    one.release(A);
    expect(used(one)).toEqual([0, 0, 0]);
    one.rebuild([{ uuid: A, flavor: small, move: { flavor: large, diskGb: 7 } }]);
    expect(used(one)).toEqual([6, 3000, 17]);
    one.endMove(A, true);
    expect(used(one)).toEqual([4, 2000, 7]);
    one.rebuild([]);
    expect(used(one)).toEqual([0, 0, 0]);
  });
});

describe('a change of a claim', () => {
  it('counts what the instance has as free, and changes nothing where it is refused', () => {
    const one = tracker(2000);
    one.change(A, large);
    expect(used(one)).toEqual([4, 2000, 20]);
    expect(() => one.change(A, { ...large, memoryMb: 2001 })).toThrowError(
      expect.objectContaining({ code: 'CLAIM_REFUSED' }),
    );
    expect(used(one)).toEqual([4, 2000, 20]);
    expect(() => one.change('b', small)).toThrowError(
      expect.objectContaining({ code: 'INSTANCE_NOT_FOUND' }),
    );
  });

  it('to less is never refused, whatever the host has now', () => {
    const one = tracker();
    one.setTotals({ vcpus: 1, memoryMb: 10, diskGb: 1 });
    one.change(A, { ...small, memoryMb: 900 });
    expect(used(one)).toEqual([2, 900, 10]);
    expect(() => one.change(A, { ...small, memoryMb: 901 })).toThrowError();
  });
});
