const waterfall = { work: 'waterfall' };

export const scenario = {
  name: 'waterfall',
  question: 'Where does the time of a warm launch go?',
  unit: 'ms',
  chart: 'waterfall',
  quick: { rounds: 2, count: 10 },
  full: { rounds: 4, count: 20 },
  contenders: {
    'node-compute': { peer: 'node-compute', options: waterfall },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'logged', options: waterfall },
  },
  notes: [
    "Phases from libvirt's own log, whose writing makes the whole slower than in warm-launch: read the shares.",
    'rest: what lies outside of them; with libvirtd the way there and back, and in both the end of the call.',
  ],
};
