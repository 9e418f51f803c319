export const scenario = {
  name: 'cache-hit',
  question: 'How long does it take to be told that an image is in the cache, as each launch asks?',
  unit: 'ms',
  digits: 3,
  base: 'node-compute',
  quick: { rounds: 3, count: 200 },
  full: { rounds: 6, count: 1000 },
  contenders: { 'node-compute': { peer: 'addon', options: { work: 'hit' } } },
  goals: [{ text: 'ms that it adds to a launch', of: { contender: 'node-compute' }, atMost: 1 }],
};
