const fleet = 200;
const usage = { work: 'usage', domains: fleet };

export const scenario = {
  name: 'usage-200',
  question: 'How long do state, CPU time and memory of 200 running domains take?',
  slow: true,
  unit: 'ms',
  digits: 2,
  base: 'C, in process',
  quick: { rounds: 3, count: 50 },
  full: { rounds: 6, count: 200 },
  contenders: {
    'C, in process': { peer: 'libvirt-c', fleet, options: usage },
    'node-compute, in process': { peer: 'addon', fleet, options: usage },
    'Python, in process': { peer: 'libvirt-python', fleet, options: usage },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'tuned', fleet, options: usage },
    'node-compute, libvirtd': { peer: 'addon', libvirtd: 'tuned', fleet, options: usage },
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'tuned', fleet, options: usage },
    '@unraid/libvirt, libvirtd': { peer: 'unraid', libvirtd: 'tuned', fleet, options: usage },
    'virsh domstats, libvirtd': { peer: 'virsh', libvirtd: 'tuned', fleet, options: usage },
  },
  goals: [
    {
      text: 'times as long as C, in process',
      of: { contender: 'node-compute, in process' },
      over: { contender: 'C, in process' },
      atMost: 1.2,
    },
    {
      text: 'times as long as C, libvirtd',
      of: { contender: 'node-compute, libvirtd' },
      over: { contender: 'C, libvirtd' },
      atMost: 1.2,
    },
    ...['Python', '@unraid/libvirt', 'virsh domstats'].map((peer) => ({
      text: `times as long by ${peer}, libvirtd`,
      of: { contender: `${peer}, libvirtd` },
      over: { contender: 'node-compute, libvirtd' },
      atLeast: 5,
    })),
    {
      text: 'ms of event loop delay, 99th percentile, a sample each second',
      of: { contender: 'node-compute, in process', value: 'eventLoopDelayP99Ms' },
      atMost: 5,
    },
  ],
  notes: [
    'The domains are paused before their firmware runs, each with a disk, an interface and a balloon; one libvirt for all contenders.',
    'C, Python: virConnectListAllDomains and virDomainGetInfo of each, some 70 times cheaper than the bulk call for the same figures. @unraid/libvirt the same, all at once. virsh: domstats --state --cpu-total --balloon.',
    "node-compute: getInstancesUsage of the driver, with the resident memory of each QEMU, which the others' calls do not give: the states by one call of libvirt, CPU time and memory from the kernel's figures of the processes.",
  ],
};
