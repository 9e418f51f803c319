const overlay = { work: 'overlay' };

export const scenario = {
  name: 'overlay',
  question: "How long does it take to create an instance's overlay?",
  unit: 'ms',
  digits: 2,
  base: 'qemu-img create',
  quick: { rounds: 3, count: 50 },
  full: { rounds: 6, count: 200 },
  contenders: {
    'qemu-img create': { peer: 'qemu-img', options: overlay },
    'node-compute': { peer: 'addon', options: overlay },
  },
  goals: [
    {
      text: 'times as long by qemu-img create',
      of: { contender: 'qemu-img create' },
      over: { contender: 'node-compute' },
      atLeast: 100,
    },
  ],
  notes: ['A qcow2 of 1 GiB on a raw base. qemu-img runs as a child of Node.js, as it would there.'],
};
