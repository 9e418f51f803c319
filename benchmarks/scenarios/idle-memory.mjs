const idle = { work: 'idle' };

export const scenario = {
  name: 'idle-memory',
  question: 'How much memory does a process with the driver open and nothing to do hold?',
  unit: 'MiB',
  base: 'node-compute',
  quick: { rounds: 2, count: 1 },
  full: { rounds: 4, count: 1 },
  contenders: {
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: idle },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'stock', options: idle },
    '@unraid/libvirt, libvirtd': { peer: 'unraid', libvirtd: 'stock', options: idle },
    'Nova, libvirtd': { peer: 'nova', libvirtd: 'stock', options: idle },
    'node-compute': { peer: 'node-compute', options: idle },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'tuned', options: idle },
  },
  goals: [{ text: 'MiB of an idle agent', of: { contender: 'node-compute' }, atMost: 80 }],
  notes: [
    'Resident set of the process; libvirtd has its own. Of Nova: its process and its privileged daemon, shared pages once.',
  ],
};
