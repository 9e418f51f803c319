const launch = { work: 'launch' };

export const scenario = {
  name: 'warm-launch',
  question:
    'How long does the launch of a cached image take, from claim to running, against QEMU alone and against libvirt?',
  unit: 'ms',
  base: 'bare-qemu',
  programs: true,
  quick: { rounds: 3, count: 6 },
  full: { rounds: 8, count: 12 },
  contenders: {
    'bare-qemu': { peer: 'bare-qemu', options: launch },
    'node-compute': { peer: 'node-compute', options: launch },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'tuned', options: launch },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'stock', options: launch },
    '@unraid/libvirt, libvirtd': { peer: 'unraid', libvirtd: 'stock', options: launch },
    'virsh, libvirtd': { peer: 'virsh', libvirtd: 'stock', options: launch },
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: launch },
    'Nova, libvirtd': { peer: 'nova', libvirtd: 'stock', options: launch },
  },
  goals: [
    {
      text: "times as long in Nova's own driver",
      of: { contender: 'Nova, libvirtd' },
      over: { contender: 'node-compute' },
      atLeast: 10,
    },
    {
      text: 'times bare QEMU with the same devices',
      of: { contender: 'node-compute' },
      over: { contender: 'bare-qemu' },
      atMost: 1.6,
    },
    {
      text: 'programs run by a launch: QEMU',
      of: { contender: 'node-compute', value: 'programsEach' },
      atMost: 1,
    },
  ],
  notes: [
    'programs: execve(2) of the peer and of its libvirtd, QEMU among them; counted by strace apart from the times.',
    'bare-qemu: the same devices, from exec to the answer to qmp_capabilities; its overlay is made beforehand.',
    'The libvirtd of node-compute has the capability filter set, as docs/performance.md recommends; that of the others is as Debian ships it.',
    'C, Python, @unraid/libvirt and virsh make the overlay with qemu-img, as one would; node-compute does all that it does for an instance.',
    "Nova: LibvirtDriver.spawn of Debian's python3-nova in process; no database, Placement, network or Glance.",
  ],
};
