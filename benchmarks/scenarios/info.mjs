const info = { work: 'info' };

export const scenario = {
  name: 'info',
  question: 'How long does it take to be told what a qcow2 of 1 GiB says of itself?',
  unit: 'ms',
  digits: 2,
  base: 'qemu-img info',
  quick: { rounds: 3, count: 50 },
  full: { rounds: 6, count: 200 },
  contenders: {
    'qemu-img info': { peer: 'qemu-img', image: 'zlib', options: info },
    'node-compute': { peer: 'addon', image: 'zlib', options: info },
  },
  goals: [
    {
      text: 'times as long by qemu-img info',
      of: { contender: 'qemu-img info' },
      over: { contender: 'node-compute' },
      atLeast: 100,
    },
  ],
  notes: [
    'The same facts from both; neither judges the image. qemu-img runs as a child of Node.js, as it would there.',
  ],
};
