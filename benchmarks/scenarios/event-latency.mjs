const events = { work: 'events' };

export const scenario = {
  name: 'event-latency',
  question:
    'How long from a call that suspends or resumes a running instance until its event is with the client?',
  unit: 'ms',
  digits: 2,
  base: 'C, libvirtd',
  quick: { rounds: 3, count: 30 },
  full: { rounds: 6, count: 100 },
  contenders: {
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'stock', options: events },
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: events },
    'node-compute': { peer: 'node-compute', options: events },
    'node-compute, libvirtd': { peer: 'node-compute', libvirtd: 'tuned', options: events },
  },
  notes: [
    'C and Python: virDomainSuspend or virDomainResume to the callback, which a thread with the event loop runs.',
    'node-compute: pause or unpause of ComputeNode to the reader of its events.',
    '@unraid/libvirt has no events.',
  ],
};
