const launch = { work: 'launch', cold: true };
const contender = (peer, libvirtd) => ({
  peer,
  ...(libvirtd && { libvirtd }),
  image: 'zlib',
  options: launch,
});

export const scenario = {
  name: 'cold-launch',
  question:
    'How long does the launch of an image take that is not in the cache, a compressed qcow2 of 1 GiB?',
  slow: true,
  unit: 'ms',
  base: 'qemu-img alone',
  quick: { rounds: 2, count: 2 },
  full: { rounds: 5, count: 4 },
  contenders: {
    'qemu-img alone': contender('qemu-img'),
    'node-compute': contender('node-compute'),
    'node-compute, libvirtd': contender('node-compute', 'tuned'),
    'Python, libvirtd': contender('libvirt-python', 'stock'),
    'Nova, libvirtd': contender('nova', 'stock'),
  },
  notes: [
    'The image has 256 MiB of data, compressed to half by zlib. It is converted to a raw base, on which the overlay lies.',
    'qemu-img alone: convert -m 16 -W and create, the part of the image; no QEMU, no fsync, no look at what the image is.',
    'Python: qemu-img convert and create with default flags, as one would: the image is not inspected, the base not on disk yet.',
    'node-compute and Nova copy the file first (Nova has it from Glance), inspect it, and have the base on disk at the end.',
    'The step image of Nova is _create_image.',
  ],
};
