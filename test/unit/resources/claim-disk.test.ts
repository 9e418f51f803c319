// What an instance claims of the disk may change while it stands.
import { expect, it } from 'vitest';
import { ResourceTracker } from '../../../src/resources/tracker.js';

it('takes more only where it fits, less always, and nothing without a claim', () => {
  const tracker = new ResourceTracker({ totals: { vcpus: 4, memoryMb: 4096, diskGb: 100 } });
  const flavor = { vcpus: 1, memoryMb: 512 };
  const claim = tracker.claim('one', flavor, { diskGb: 40 });
  tracker.claim('other', flavor, { diskGb: 40 });
  tracker.claimDisk('one', 60);
  expect(tracker.usage().diskGb.used).toBe(100);
  expect(() => tracker.claimDisk('one', 61)).toThrow(expect.objectContaining({ code: 'CLAIM_REFUSED' }));
  expect(tracker.amounts('one')).toEqual({ vcpus: 1, memoryMb: 512, diskGb: 60 });
  tracker.setTotals({ vcpus: 4, memoryMb: 4096, diskGb: 10 });
  tracker.claimDisk('one', 50);
  expect(tracker.usage().diskGb.used).toBe(90);
  tracker.claimDisk('unknown', 1);
  expect(tracker.size).toBe(2);
  claim.release();
  expect(tracker.release('one')).toBe(true);
});
