export const scenario = {
  name: 'claims',
  question: 'How many claims of resources are granted and released in a second?',
  unit: 'us',
  digits: 2,
  base: 'node-compute',
  quick: { rounds: 3, count: 200 },
  full: { rounds: 6, count: 1000 },
  contenders: { 'node-compute': { peer: 'resources', options: { work: 'claims' } } },
  goals: [
    {
      text: 'claims a second',
      of: { contender: 'node-compute', value: 'claimsPerSecond' },
      atLeast: 100_000,
    },
  ],
  notes: ['In memory: microseconds of one claim and its release, on a host with two hundred others.'],
};
