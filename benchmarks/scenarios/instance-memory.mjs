const memory = { work: 'memory' };

export const scenario = {
  name: 'instance-memory',
  question: 'How much memory does one more instance cost the agent, and how much does its QEMU hold?',
  slow: true,
  unit: 'MiB',
  digits: 2,
  base: 'Python, libvirtd',
  quick: { rounds: 1, count: 20 },
  full: { rounds: 3, count: 20 },
  contenders: {
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: memory },
    'Nova, libvirtd': { peer: 'nova', libvirtd: 'stock', options: memory },
    'node-compute': { peer: 'node-compute', options: memory },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'tuned', options: memory },
  },
  notes: [
    'agent: how much the resident sets of the process and of its libvirtd grow with twenty launches, by twenty.',
    "qemu: the proportional set of each instance's QEMU, its guest's 128 MiB as far as they are touched.",
    'Nova: its process, its privileged daemon and libvirtd.',
  ],
};
