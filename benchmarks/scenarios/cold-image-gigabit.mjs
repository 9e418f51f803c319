const glance = { rate: '1gbit' };

export const scenario = {
  name: 'cold-image-gigabit',
  question: 'The same across a network of 1 Gbit/s: how much of the work is hidden behind the download?',
  slow: true,
  unit: 'ms',
  base: 'curl',
  quick: { rounds: 3, count: 1 },
  full: { rounds: 4, count: 2 },
  contenders: {
    curl: { peer: 'curl', glance, options: { work: 'download' } },
    "Nova's steps": { peer: 'curl', glance, options: { work: 'fetch' } },
    'node-compute': { peer: 'addon', glance, options: { work: 'fetch' } },
  },
  goals: [
    {
      text: 'times curl, which is the larger of download and conversion',
      of: { contender: 'node-compute' },
      over: { contender: 'curl' },
      atMost: 1.25,
    },
  ],
  notes: [
    'The network is a pair of interfaces and a token bucket; glance-api runs in a network namespace behind it.',
    'What the contenders do, and the image, are those of cold-image.',
  ],
};
