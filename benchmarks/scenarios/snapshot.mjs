const snapshot = { work: 'snapshot' };

export const scenario = {
  name: 'snapshot',
  question:
    'How long does an image of a running instance take, of whose disk 256 MiB are its own, and does the guest stop for it?',
  slow: true,
  unit: 'ms',
  base: 'Python and qemu-img, libvirtd',
  quick: { rounds: 3, count: 2 },
  full: { rounds: 6, count: 4 },
  contenders: {
    'Python and qemu-img, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: snapshot },
    'Python, qemu-img and sha512sum, libvirtd': {
      peer: 'libvirt-python',
      libvirtd: 'stock',
      options: { ...snapshot, digest: true },
    },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'stock', options: snapshot },
    'node-compute': { peer: 'node-compute', options: snapshot },
  },
  notes: [
    'Python does what Nova does: QEMU copies what stands above the base, qemu-img makes an image of that and the base. It looks at the copy every 10 ms, Nova every 500.',
    'All write a qcow2 without compression. node-compute tells its SHA-512, too, and Python where it says so. MiB/s are those of its file.',
    'The guest is stopped from a `suspended` event to the next `resumed`.',
  ],
};
