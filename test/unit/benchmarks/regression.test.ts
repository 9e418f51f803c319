// Two builds side by side: what is a regression and what is the weather.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge } from '../../../benchmarks/lib/regression.mjs';

const base = [100, 104, 97, 101, 99, 103];
const again = [101, 102, 98, 100, 100, 102];
const times = (factor: number): number[] => base.map((value) => value * factor);

describe('a build', () => {
  it('that is 15 % slower is a regression, one that is faster an improvement, the same is the same', () => {
    expect(judge({ base, again, build: times(1.15) })).toMatchObject({ verdict: 'regression' });
    expect(judge({ base, again, build: times(0.85) })).toMatchObject({ verdict: 'improvement' });
    expect(judge({ base, again, build: times(1) })).toMatchObject({ verdict: 'same', ratio: 1 });
  });

  it('is not blamed for less than 5 %, nor for what the base differs from itself', () => {
    expect(judge({ base, again, build: times(1.04) }).verdict).toBe('same');
    expect(judge({ base, again: times(1.3), build: times(1.15) }).verdict).toBe('same');
  });

  it('is not blamed for one bad round, nor on the word of few', () => {
    expect(judge({ base, again, build: [...base.slice(1), 900] }).verdict).toBe('same');
    expect(judge({ base: [100, 100], again: [100, 100], build: [200, 200] }).verdict).toBe('same');
  });

  it('that only varies as the base does is the same', () => {
    const round = fc.double({ min: 98, max: 102, noNaN: true });
    const rounds = fc.array(round, { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(rounds, rounds, rounds, (one, two, three) => {
        expect(judge({ base: one, again: two, build: three }).verdict).toBe('same');
      }),
    );
  });
});
