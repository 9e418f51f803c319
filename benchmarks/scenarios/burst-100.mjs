import { burst } from '../lib/burst.mjs';

export const scenario = burst({
  instances: 100,
  concurrencies: [2, 4, 8],
  floors: [4],
  peers: false,
  rounds: { quick: 1, full: 3 },
  slow: true,
  goals: [
    {
      text: 'launches a second, 100 at once',
      of: { contender: 'node-compute, 4 at once', value: 'perSecond' },
      atLeast: 25,
    },
    {
      text: 'ms of event loop delay, 99th percentile, during 100 launches',
      of: { contender: 'node-compute, 4 at once', value: 'eventLoopDelayP99Ms' },
      atMost: 20,
    },
  ],
});
