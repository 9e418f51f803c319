const attach = { work: 'attach' };

export const scenario = {
  name: 'attach-detach',
  question:
    'How long does it take to give a running guest a volume, and to take it away once the guest lets go?',
  slow: true,
  unit: 'ms',
  base: 'Python, libvirtd',
  quick: { rounds: 3, count: 4 },
  full: { rounds: 6, count: 8 },
  contenders: {
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', guest: true, options: attach },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'stock', guest: true, options: attach },
    'node-compute': { peer: 'node-compute', guest: true, options: attach },
  },
  notes: [
    'The guest is an emulated Linux: most of the time of a detach is its own.',
    'Nova is not among them: it attaches what Cinder has connected.',
  ],
};
