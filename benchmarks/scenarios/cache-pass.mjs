const pass = { work: 'pass' };

export const scenario = {
  name: 'cache-pass',
  question: 'How long does one pass over a cache of 50 images take, with an instance on each?',
  unit: 'ms',
  digits: 2,
  base: 'qemu-img info',
  quick: { rounds: 3, count: 5 },
  full: { rounds: 6, count: 20 },
  contenders: {
    'qemu-img info': { peer: 'qemu-img', options: pass },
    'node-compute': { peer: 'addon', options: pass },
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
    'Which bases are in use: qemu-img is asked for the backing file of one disk after the other, which is the part of Nova’s pass that counts; as a child of Node.js, without Nova’s Python in between. node-compute looks at link counts, and writes down that they are used.',
  ],
};
