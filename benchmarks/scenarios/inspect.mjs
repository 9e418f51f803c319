const inspect = (subcommand) => ({ work: 'inspect', ...(subcommand && { subcommand }) });

export const scenario = {
  name: 'inspect',
  question: 'How long does it take to look at a compressed qcow2 of 1 GiB before it is used?',
  unit: 'ms',
  digits: 2,
  base: 'qemu-img info',
  quick: { rounds: 3, count: 20 },
  full: { rounds: 6, count: 50 },
  contenders: {
    'qemu-img info': { peer: 'qemu-img', image: 'zlib', options: inspect('info') },
    'qemu-img check': { peer: 'qemu-img', image: 'zlib', options: inspect('check') },
    'node-compute': { peer: 'addon', image: 'zlib', options: inspect() },
  },
  notes: [
    'info reads the header. check reads the tables too, and counts references. node-compute validates header and tables.',
    'qemu-img runs as a child of Node.js, as it would there.',
  ],
};
