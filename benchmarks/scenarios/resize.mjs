const resize = { work: 'resize' };

export const scenario = {
  name: 'resize',
  question:
    'How long does an instance take to run again with other memory and vCPUs, and how long with a larger disk?',
  slow: true,
  unit: 'ms',
  base: 'Python and qemu-img, libvirtd',
  quick: { rounds: 3, count: 4 },
  full: { rounds: 6, count: 8 },
  contenders: {
    'Python and qemu-img, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: resize },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'stock', options: resize },
    'node-compute': { peer: 'node-compute', options: resize },
  },
  notes: [
    'The plug is pulled in all of them. Python has no way back: node-compute claims both sizes, keeps a journal and the old disk, which it copies to a larger one, and confirms.',
  ],
};
