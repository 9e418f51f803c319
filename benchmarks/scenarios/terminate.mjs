const terminate = { work: 'terminate' };

export const scenario = {
  name: 'terminate',
  question:
    "How long until an instance's QEMU has ended, and until its record and files are gone and its name is free?",
  unit: 'ms',
  base: 'Python, libvirtd',
  quick: { rounds: 3, count: 5 },
  full: { rounds: 6, count: 10 },
  contenders: {
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: terminate },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'stock', options: terminate },
    '@unraid/libvirt, libvirtd': { peer: 'unraid', libvirtd: 'stock', options: terminate },
    'Nova, libvirtd': { peer: 'nova', libvirtd: 'stock', options: terminate },
    'node-compute': { peer: 'node-compute', options: terminate },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'tuned', options: terminate },
  },
  goals: [
    {
      text: 'ms until the guest is gone',
      of: { contender: 'node-compute', measure: 'gone' },
      atMost: 15,
    },
    {
      text: 'ms until its record is gone',
      of: { contender: 'node-compute', measure: 'terminate' },
      atMost: 230,
    },
  ],
  notes: ['libvirt waits in steps of 200 ms for the process that it has ended.'],
};
