const reboot = { work: 'reboot' };

export const scenario = {
  name: 'reboot',
  question: 'How long does a hard reboot take, until the instance runs again?',
  slow: true,
  unit: 'ms',
  base: 'Python, libvirtd',
  quick: { rounds: 3, count: 4 },
  full: { rounds: 6, count: 8 },
  contenders: {
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: reboot },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'stock', options: reboot },
    'Nova, libvirtd': { peer: 'nova', libvirtd: 'stock', options: reboot },
    'node-compute': { peer: 'node-compute', options: reboot },
  },
};
