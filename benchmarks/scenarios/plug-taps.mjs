const plug = (tool) => ({ work: 'plug', ...(tool && { tool }) });

export const scenario = {
  name: 'plug-taps',
  question: 'How long does it take to make 100 taps, each up and on a bridge?',
  unit: 'ms',
  base: 'ip and brctl',
  quick: { rounds: 3, count: 3 },
  full: { rounds: 6, count: 6 },
  contenders: {
    'ip and brctl': { peer: 'ip', options: plug('brctl') },
    ip: { peer: 'ip', options: plug('ip') },
    'ip -batch': { peer: 'ip', options: plug('batch') },
    'node-compute': { peer: 'addon', options: plug() },
  },
  goals: [
    {
      text: 'times as long by ip and brctl',
      of: { contender: 'ip and brctl' },
      over: { contender: 'node-compute' },
      atLeast: 20,
    },
  ],
  notes: [
    'ip and brctl: three programs a tap, as agents have run them (ip tuntap add, brctl addif, ip link set up). ip: two. ip -batch: one program for all, which an agent that plugs one tap at a time cannot use.',
    'In a network namespace of the trial. The programs run as children of Node.js, as they would there. Taps are removed uncounted.',
  ],
};
