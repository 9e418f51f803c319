import { burst } from '../lib/burst.mjs';

export const scenario = burst({
  instances: 20,
  concurrencies: [1, 2, 4, 8, 16],
  floors: [2, 4],
  peers: true,
  rounds: { quick: 1, full: 5 },
  goals: [
    {
      text: 'launches a second, 20 at once',
      of: { contender: 'node-compute, 4 at once', value: 'perSecond' },
      atLeast: 25,
    },
  ],
});
