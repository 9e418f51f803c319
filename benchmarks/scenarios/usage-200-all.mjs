const fleet = 200;
const usage = { work: 'usageAll', domains: fleet };

export const scenario = {
  name: 'usage-200-all',
  question: 'How long do all figures of 200 running domains take, with vCPUs, interfaces and disks?',
  slow: true,
  unit: 'ms',
  digits: 1,
  base: 'C, in process',
  quick: { rounds: 2, count: 5 },
  full: { rounds: 5, count: 20 },
  contenders: {
    'C, in process': { peer: 'libvirt-c', fleet, options: usage },
    'node-compute, in process': { peer: 'addon', fleet, options: usage },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'tuned', fleet, options: usage },
    'node-compute, libvirtd': { peer: 'addon', libvirtd: 'tuned', fleet, options: usage },
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'tuned', fleet, options: usage },
    'virsh domstats, libvirtd': { peer: 'virsh', libvirtd: 'tuned', fleet, options: usage },
  },
  goals: [
    {
      text: "times as long by libvirt's bulk call in C, in process",
      of: { contender: 'C, in process' },
      over: { contender: 'node-compute, in process' },
      atLeast: 5,
    },
    {
      text: "times as long by libvirt's bulk call in C, libvirtd",
      of: { contender: 'C, libvirtd' },
      over: { contender: 'node-compute, libvirtd' },
      atLeast: 5,
    },
    {
      text: 'ms of event loop delay, 99th percentile, a sample each second',
      of: { contender: 'node-compute, in process', value: 'eventLoopDelayP99Ms' },
      atMost: 5,
    },
  ],
  notes: [
    'C, Python, virsh: virConnectGetAllDomainStats of state, cpu-total, balloon, vcpu, interface and block.',
    'node-compute: getInstancesUsage of the driver with all groups. Each QEMU is asked one question, for the counters of its disks, several at once; all else is read from the kernel. It gives the sum over the disks of a domain, where the bulk call tells each.',
    '@unraid/libvirt has no such calls.',
  ],
};
