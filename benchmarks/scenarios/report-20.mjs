const report = { work: 'report', instances: 20 };

export const scenario = {
  name: 'report-20',
  question: 'How long does the report of a node take that has 20 instances?',
  slow: true,
  unit: 'ms',
  digits: 2,
  base: 'Nova, libvirtd',
  quick: { rounds: 2, count: 10 },
  full: { rounds: 5, count: 50 },
  contenders: {
    'Nova, libvirtd': { peer: 'nova', libvirtd: 'stock', options: { ...report, count: 3 } },
    'node-compute': { peer: 'node-compute', options: report },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'tuned', options: report },
  },
  goals: [
    { text: 'ms that a report takes', of: { contender: 'node-compute' }, atMost: 5 },
    {
      text: 'times as long by Nova',
      of: { contender: 'Nova, libvirtd' },
      over: { contender: 'node-compute' },
      atLeast: 100,
    },
  ],
  notes: [
    "Nova: the driver's get_available_resource alone. node-compute: ComputeNode.report.",
    'Instances of 128 MiB with an overlay of 1 GiB each, that run; a halted guest.',
  ],
};
