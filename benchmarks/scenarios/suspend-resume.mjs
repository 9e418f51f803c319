const save = { work: 'save' };

export const scenario = {
  name: 'suspend-resume',
  question:
    'How long does it take to write the memory of an instance to disk, and to run it from there again?',
  slow: true,
  unit: 'ms',
  base: 'Python, libvirtd',
  quick: { rounds: 3, count: 4 },
  full: { rounds: 6, count: 8 },
  contenders: {
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: save },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'stock', options: save },
    'Nova, libvirtd': { peer: 'nova', libvirtd: 'stock', options: save },
    'node-compute': { peer: 'node-compute', options: save },
  },
};
